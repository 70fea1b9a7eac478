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
//   - A call that failed has changed nothing. In one case the record can be on
//     disk all the same: the process ended before the caller was told.
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
// serves all calls, and none lingers. But an end that was told
// already, by a node that keeps it until it is written down, waits for it a little
// (End.Linger, Options.MaxLinger): where one request follows another, the end of
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
// An append-only log of frames, each with a length, a CRC-32C, a kind and the
// request's sequence number (log.go draws it). Numbers only grow. A commit is the
// frames of those who share it and a last frame, written at once and synced once;
// without its last frame a commit does not count. Which frames hold what of a
// request is in memory; contents are read from the file when they are asked for.
// What is a struct in Go is JSON: it takes up new fields of protocol.Service by
// itself, and costs a few µs, in the caller's goroutine.
//
// What a write that failed may have left behind the last commit is cut off before
// the next one. A file of which most is dead is written anew, to another name and
// then renamed; commits wait for that, and for the new name to be on disk.
//
// Secrets of a service are sealed (Options.Sealer), in a frame of their own that an
// empty one takes the place of at the end. The key is not in this file.
//
// # Damage
//
// Open reads the whole file. It tells three cases apart:
//
//   - The last write is cut short: the file ends within a frame, or a sector of
//     that write is empty. That is a power cut. Nobody was told that the write
//     succeeded, so it is cut off in silence.
//   - Anything else is wrong: a record has changed, a commit is missing, commits
//     follow one that is not whole. That is damage. Each sound frame is taken
//     over into a new file, and the old one is kept under another name. Requests
//     without an end are InDoubt then: what happened last may be missing.
//   - A commit that the disk acknowledged and then lost, with nothing after it.
//     No file can tell that.
//
// The format before was an embedded database. Package v1 reads it. Where an older
// program ran after this one, its database is merged: see Journal.convert.
//
// A removed request leaves its ID and its last attempt behind for a while, in the
// frame that drops it: its node may still have that attempt (Removal).
//
// # How long ended requests are kept
//
// Up to a count, a size and a time, the oldest end first. The time does not
// trust clocks: it is the time that the journal was open, added up over its
// openings, since the request's end. A device that is off ages nothing, and one
// with a wrong clock neither keeps for ever nor drops too early. What is due is
// dropped with the next commit, as an idle journal does nothing. Requests that
// have not ended are never dropped.
package journal
