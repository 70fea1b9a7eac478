package web

import (
	"net/http"
	"reflect"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/protocol/api"
)

// stackList answers with the stacks of the mesh or, watched, with a line for each, a
// line that says that this was all, and a line for each that changed or is gone.
func (a *handler) stackList(w http.ResponseWriter, r *http.Request) error {
	ctx, query := r.Context(), r.URL.Query()
	want := protocol.ListStacks{All: query.Has("all"), Watch: query.Has("watch")}
	if !want.Watch {
		return a.app.ListStacks(ctx, want, func(list []protocol.StackStatus) error {
			out := []api.StackStatus{}
			for _, s := range list {
				out = append(out, shown(s))
			}
			return answer(w, http.StatusOK, out)
		})
	}
	s, free, err := a.lines(w, streamTimeout)
	if err != nil {
		return err
	}
	defer free()
	told := map[protocol.StackName]protocol.StackStatus{}
	err = a.app.ListStacks(ctx, want, func(list []protocol.StackStatus) error { return s.tellStacks(told, list) })
	return s.end(bare(ctx, err))
}

// shown is a stack with a list of instances, also where there are none.
func shown(s protocol.StackStatus) api.StackStatus {
	if s.Instances == nil {
		s.Instances = []protocol.InstanceStatus{}
	}
	return s
}

// stackGone says that a stack is no more.
type stackGone struct {
	Name protocol.StackName `json:"name"`
	Gone bool               `json:"gone"`
}

// tellStacks sends what differs from what was told.
func (s *stream) tellStacks(told map[protocol.StackName]protocol.StackStatus, list []protocol.StackStatus) error {
	first := !s.begun
	there := make(map[protocol.StackName]bool, len(list))
	for _, stack := range list {
		there[stack.Name] = true
		if old, ok := told[stack.Name]; ok && reflect.DeepEqual(old, stack) {
			continue
		}
		told[stack.Name] = stack
		if err := s.send(shown(stack)); err != nil {
			return err
		}
	}
	for name := range told {
		if there[name] {
			continue
		}
		delete(told, name)
		if err := s.send(stackGone{name, true}); err != nil {
			return err
		}
	}
	if first {
		return s.send(begunLine{true})
	}
	return nil
}
