package node

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
func (n *Node) openJournal() error {
	seed, err := keys.LoadSeed(n.cfg.StateDir)
	if err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	opts := journal.DefaultOptions()
	opts.Clock, opts.Log = n.clock, n.log
	opts.Sealer = keys.NewSealer(n.cfg.Secret, seed)
	opts.Former = filepath.Join(n.cfg.StateDir, formerJournal(n.cfg.Secret.Fingerprint()))
	path := filepath.Join(n.cfg.StateDir, JournalFile(n.cfg.Secret.Fingerprint()))
	if n.journal, err = journal.Open(path, opts); err != nil {
		return fmt.Errorf("open the journal of requests: %w", err)
	}
	return nil
}
