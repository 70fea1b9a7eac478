package device

import (
	"fmt"
	"path/filepath"

	"github.com/hearth-edge/hearth/keys"
	"github.com/hearth-edge/hearth/sched/journal"
)

// JournalFile returns the name of a mesh's journal of requests in the state
// folder. Each mesh has its own, so that what was accepted in one is never
// offered in another: a device that moves leaves its journal behind, and takes it
// up where it was when it moves back, as it has its identity there again.
func JournalFile(mesh keys.Fingerprint) string { return "journal-" + string(mesh) + ".log" }

// formerJournal is what the file was called that the version before wrote.
func formerJournal(mesh keys.Fingerprint) string { return "journal-" + string(mesh) + ".db" }

// openJournal opens what was accepted and not forgotten by earlier processes.
func (d *Device) openJournal() error {
	seed, err := keys.LoadSeed(d.cfg.StateDir)
	if err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	opts := journal.DefaultOptions()
	opts.Clock, opts.Log = d.clock, d.log
	opts.Sealer = keys.NewSealer(d.cfg.Secret, seed)
	opts.Former = filepath.Join(d.cfg.StateDir, formerJournal(d.cfg.Secret.Fingerprint()))
	path := filepath.Join(d.cfg.StateDir, JournalFile(d.cfg.Secret.Fingerprint()))
	if d.journal, err = journal.Open(path, opts); err != nil {
		return fmt.Errorf("open the journal of requests: %w", err)
	}
	return nil
}
