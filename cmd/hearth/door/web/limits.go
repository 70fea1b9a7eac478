package web

import "time"

const (
	// maxStreams bounds the answers that go on (watched lists, events, output, run)
	// at a time; one more is answered with 503.
	maxStreams = 256
	// streamTimeout bounds how long a client may leave a line of a watched list, or
	// an event, unread: then it is cut off. Output waits for its reader instead.
	streamTimeout = time.Minute
	// maxServiceBody bounds the body that a service comes in, in bytes: it may be
	// protocol.MaxService, of which JSON makes more.
	maxServiceBody = 2 << 20
	// maxFollowed is how many requests at a time the output of all shows; recent is
	// what it shows of what they wrote before.
	maxFollowed = 128
	recent      = time.Minute
	// maxScrapes bounds those that scrape metrics at a time, and scrapeTimeout how
	// long a scrape takes; beyond either it is answered with 503.
	maxScrapes    = 4
	scrapeTimeout = 5 * time.Second
	// maxListed is the most requests that a list has.
	maxListed = 10_000
	// maxGraceMS and maxForMS bound how long a container may take to end, and a
	// token lasts, in milliseconds.
	maxGraceMS = int64(24 * time.Hour / time.Millisecond)
	maxForMS   = int64(10 * 365 * 24 * time.Hour / time.Millisecond)
	// stderrTail is how many bytes of a container's errors the trailer of a run has.
	stderrTail = 4 << 10
)
