package web

import (
	"net/http"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/protocol/api"
)

// devices answers with all devices or, watched, with a line for each, a line that
// says that this was all, and a line for each that changed or is gone.
func (a *handler) devices(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	if !r.URL.Query().Has("watch") {
		return a.app.Devices(ctx, false, func(ds []protocol.Device) error { return answer(w, http.StatusOK, api.NewDevices(ds)) })
	}
	s, free, err := a.lines(w, streamTimeout)
	if err != nil {
		return err
	}
	defer free()
	told := map[protocol.PeerID]protocol.Device{}
	err = a.app.Devices(ctx, true, func(ds []protocol.Device) error {
		return s.tellDevices(told, ds)
	})
	return s.end(bare(ctx, err))
}

// goneLine says that a device is in the mesh no more.
type goneLine struct {
	PeerID protocol.PeerID `json:"peer_id"`
	Gone   bool            `json:"gone"`
}

// tellDevices sends what differs from what was told.
func (s *stream) tellDevices(told map[protocol.PeerID]protocol.Device, ds []protocol.Device) error {
	first := !s.begun
	there := make(map[protocol.PeerID]bool, len(ds))
	for i := range ds {
		id := ds[i].Status.Node
		there[id] = true
		if old, ok := told[id]; ok && old.Self == ds[i].Self && old.Address == ds[i].Address && ds[i].Status.Alike(&old.Status) {
			continue
		}
		told[id] = ds[i]
		if err := s.send(api.NewDevice(&ds[i])); err != nil {
			return err
		}
	}
	for id := range told {
		if there[id] {
			continue
		}
		delete(told, id)
		if err := s.send(goneLine{id, true}); err != nil {
			return err
		}
	}
	if first {
		return s.send(begunLine{true})
	}
	return nil
}
