package journal

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// remove accepts a request, ends it and has it removed after so many attempts.
func remove(t *testing.T, j *Journal, id string, attempt uint32) {
	t.Helper()
	accept(t, j, id)
	end(t, j, id, ending(protocol.StateSucceeded, 0, ""))
	if err := j.Removed(t.Context(), Removal{ID: protocol.RequestID(id), Attempt: attempt, Node: "nodeA"}); err != nil {
		t.Fatal(err)
	}
}

// TestRemovalsAreRemembered: their last attempts, over restarts and where the file is
// written anew, for a time that counts while the journal is open.
func TestRemovalsAreRemembered(t *testing.T) {
	path, o := pathIn(t), testOptions()
	clock := &testClock{}
	o.Clock = clock.Now
	j := open(t, path, o)
	remove(t, j, "a", 2)
	clock.now += time.Minute
	remove(t, j, "none", 0) // was never offered
	remove(t, j, "b", 1)
	remove(t, j, "a", 5)
	clock.now += time.Minute
	accept(t, j, "other")
	j.Close()
	for _, step := range []string{"read", "made smaller"} {
		j = open(t, path, o)
		want := []Removal{{"b", 1, time.Minute, "nodeA"}, {"a", 5, time.Minute, "nodeA"}}
		if got := j.Removals(); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, want %v", step, got, want)
		}
		if err := j.compact(nil); err != nil {
			t.Fatal(err)
		}
		j.Close()
	}
	j = open(t, path, o)
	clock.now += RemovalTTL
	accept(t, j, "later")
	if err := j.compact(nil); err != nil {
		t.Fatal(err)
	}
	j.Close()
	if got := open(t, path, o).Removals(); len(got) > 0 {
		t.Errorf("after %s: %v", RemovalTTL, got)
	}
}

func TestRemovalsAreBounded(t *testing.T) {
	var totals totals
	for i := range MaxRemovals + 10 {
		totals.remember(Removal{ID: protocol.RequestID(fmt.Sprint(i)), Attempt: 1})
	}
	if n := len(totals.removed); n != MaxRemovals || totals.removed[0].ID != "10" {
		t.Errorf("%d are remembered, the first is %s", n, totals.removed[0].ID)
	}
}

// TestUnsyncedNameIsTriedAgain: while the name of a new file may not be on disk, no
// write counts; the old file could come back without it.
func TestUnsyncedNameIsTriedAgain(t *testing.T) {
	path := pathIn(t)
	j := open(t, path, testOptions())
	accept(t, j, "a")
	broken := errors.New("input/output error")
	j.writers.Wait()
	j.syncDir = func(string) error { return broken }
	if err := j.compact(nil); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Accepted(context.Background(), request("b")); protocol.CodeOf(err) != protocol.CodeInternal {
		t.Errorf("accepted where it may be lost: %v", err)
	}
	synced := 0
	j.writers.Wait()
	j.syncDir = func(string) error { synced++; return nil }
	accept(t, j, "b")
	accept(t, j, "c")
	if synced != 1 {
		t.Errorf("the folder was synced %d times", synced)
	}
	j.Close()
	if got := loadAll(t, open(t, path, testOptions())); len(got) != 3 {
		t.Errorf("%d records", len(got))
	}
}
