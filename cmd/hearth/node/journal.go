package node

import (
	"fmt"
	"path/filepath"

	"github.com/hearth-edge/hearth/sched/journal"
)

// JournalFile is the name of the journal of requests in the state folder.
const JournalFile = "journal.db"

// openJournal opens what was accepted and not forgotten by earlier processes.
func (n *Node) openJournal() (err error) {
	opts := journal.DefaultOptions()
	opts.Clock, opts.Log = n.clock, n.log
	path := filepath.Join(n.cfg.StateDir, JournalFile)
	if n.journal, err = journal.Open(path, opts); err != nil {
		return fmt.Errorf("open the journal of requests: %w", err)
	}
	return nil
}
