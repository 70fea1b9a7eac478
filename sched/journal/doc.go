// Package journal keeps on disk what an orchestrator must not forget of its
// requests: that they were accepted, whom they were offered to, how they ended.
// It knows nothing of placement, of nodes or of the network.
//
//	Accepted ─┐                                      ┌─▶ Load, at the next start
//	Offered  ─┼─▶ waiting ──one commit for all──▶ file ─▶ Find, Output
//	Ended    ─┘                                      └─▶ dropped when old or too much
//
// # What is promised
//
//   - A call of Accepted, Offered or Ended that returned nil is on disk, synced.
//     It survives the end of the process and of the power, as far as the disk
//     keeps its own promise.
//   - A call that failed has changed nothing for good. In one case the record
//     can be on disk all the same: the last sync of a commit failed, or the
//     process ended, before the caller was told. The journal takes an accept of
//     the first kind back with its next commit.
//   - An ID is accepted once while its record is kept, however many ask.
//   - A full disk is an *protocol.Error with CodeDiskFull. Nothing is lost by
//     it, and the next call succeeds if there is room then.
//   - A damaged file is never opened in silence and never crashes the process:
//     see Open and Report.
//
// # Commits
//
// A caller blocks until its record is synced. The first one starts a goroutine
// that commits; whoever comes meanwhile shares the next commit, so that a sync
// serves all who wait, and nobody waits for company. But an end that was told
// already, by a node that keeps it until it is written down, waits for it a little
// (End.Unhurried, Options.Patience): where one request follows another, the end of
// the one goes to disk with the acceptance of the other, which else would wait for
// it. The goroutine ends when nobody waits: an idle journal has no goroutine, no
// timer, and writes nothing.
// A context ends the wait for a commit, never a commit that has begun: so the
// caller always knows which it was. There is no bound on how many wait, as each
// of them is a blocked caller.
//
// The states between (placing, pulling, starting, running) are not kept. Whoever
// takes a request up again asks the node that has it, and the node knows better.
// The offer is: without it, a request might be started a second time. The first one
// is handed in with Accepted where it is known, to save a commit.
//
// # The file
//
// One bbolt file with a bucket per kind of record (accepted, offered, ended,
// output), all keyed by the request's sequence number. Numbers only grow, so
// that new records of many requests go to the same few pages; which ID has which
// number is held in memory. A value carries a checksum over its place and its
// content, since bbolt's pages have none. What is a struct in Go is JSON: it
// takes up new fields of protocol.Service by itself, and costs a few µs, in the
// caller's goroutine. The free list is not written, as it would be rewritten
// with each commit; it is found again on opening.
//
// bbolt trusts its pages: a wrong one may make it panic, loop, or read outside
// of its mapping, in goroutines of its own too. So Open first reads the file
// itself, with every bound checked, and hands bbolt only what is sound. From a
// file that is not, it takes what can be read into a new file, and leaves the
// old one under another name. Records taken so are Doubtful: what happened last
// may be missing.
//
// # How long ended requests are kept
//
// Up to a count, a size and a time, the oldest end first. The time does not
// trust clocks: it is the time that the journal was open, added up over its
// openings, since the request's end. A device that is off ages nothing, and one
// with a wrong clock neither keeps for ever nor drops too early. What is due is
// dropped with the next commit, as an idle journal does nothing. Requests that
// have not ended are never dropped.
//
// The file does not shrink while it is open, but reuses its pages; Open writes a
// large one anew when it is mostly empty.
package journal
