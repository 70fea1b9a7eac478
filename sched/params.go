package sched

import (
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// A Clock tells the monotonic time since some start that stays the same.
type Clock func() time.Duration

// Params are all the numbers that placement and delivery depend on. Use
// DefaultParams and change what needs changing.
type Params struct {
	// QueueCost (κ) is what waiting costs: with all c slots taken and the
	// queue c long, an execution takes 1+κ times as long as on an idle node.
	QueueCost float64
	// LevelCap bounds the water level to this many times the best estimate:
	// no node that is worse than that is ever drawn.
	LevelCap float64
	// Spread is the share of all slots that the water level makes room for at
	// least: what other orchestrators may be placing with the same statuses.
	Spread float64
	// BoundFactor times the second-best estimate is what a node may need and
	// still take the offer with all its slots taken.
	BoundFactor float64
	// RefusableOffers is how many offers a busy node may refuse; the next one
	// is forced.
	RefusableOffers int

	// WaitFactor times the second-best estimate, in which waiting counts QueueCost
	// times, and at least MinWait, is how long a request may wait in a node's queue
	// before the node gives it back. Where that is the only node that can run it, it
	// is at least LoneMinWait: another one may join, else its place in the queue is
	// lost for nothing.
	WaitFactor           float64
	MinWait, LoneMinWait time.Duration
	// ReadyTimeout is how long a request waits for devices that do not know yet
	// whether they run work, where no other one can run it.
	ReadyTimeout time.Duration

	// MinSpeedShare is the least of its speed that a node is taken to have,
	// however much CPU other programs use there, and however hot it is.
	MinSpeedShare float64
	// DefaultWork is what a service never seen before is taken to need, in
	// seconds of one core of the reference device.
	DefaultWork float64
	// WorkWeight is the weight of the newest execution in a service's moving
	// average of work, and of the newest request in that of the request rate.
	WorkWeight float64
	// WorkKept is of how many services the work is remembered.
	WorkKept int
	// RanWeight is the weight of the newest execution in the moving average of
	// how much longer executions run on a node than by its speed; RanProof is how
	// many standard deviations of that may be chance; RanMost bounds it, to
	// either side.
	RanWeight, RanProof, RanMost float64
	// FaultWeight is the weight of the newest execution in the share of those that
	// a node lost by a fault of its own; it fades with FaultHalfLife. With all
	// lost, executions are taken to last FaultCost times as long there.
	FaultWeight, FaultCost float64
	FaultHalfLife          time.Duration
	// ExperienceKept is of how many nodes that is remembered.
	ExperienceKept int
	// ColdStart is how long fetching an image takes where it is absent and
	// nobody knows its size.
	ColdStart time.Duration
	// ColdBase is how long it takes apart from moving the bytes: to ask the
	// registry, and to unpack the last layer.
	ColdBase time.Duration
	// PullRate is how many bytes a second a node fetches, unpacking included,
	// that has not fetched any lately.
	PullRate protocol.Bytes
	// ImageShrink is how much of its size on the disk a fetch moves, which is
	// compressed.
	ImageShrink float64
	// ImageWait bounds the wait for what the engine or the registry tells of an
	// image. ImageFactsFor is for how long that is taken to be true, and
	// ImageSilentFor for how long they are not asked again who did not tell.
	ImageWait, ImageFactsFor, ImageSilentFor time.Duration
	// ImagesKept is of how many images that is remembered.
	ImagesKept int
	// StatusBeats is for how many of its beats a status counts.
	StatusBeats int
	// ChangesPerBeat is how often within a beat devices gossip that their load
	// has changed: one that nothing was heard of for longer is as it was. 0 is
	// never.
	ChangesPerBeat int

	// AnswerTimeout bounds the wait for the answer to an offer or an attach.
	AnswerTimeout time.Duration
	// RegainTimeout is for how long an orchestrator tries to take up an
	// execution again that it lost touch with.
	RegainTimeout time.Duration
	// ResumeTimeout is the same after a restart of this device: after a power cut
	// others are starting, too. It is also how long such a request waits for a
	// node that can run it.
	ResumeTimeout time.Duration
	// Lease is how long an attempt of a request that may be retried goes on
	// after its last renewal. LeaseSlack is for clocks that run at different
	// speeds, and for how long it takes to kill a container.
	Lease, LeaseSlack time.Duration
	// MaxMoves is how often a request is placed elsewhere because a node failed
	// before it had started anything.
	MaxMoves int
	// RegainPause is the first pause between two such tries; it doubles up to
	// RegainPauseMax.
	RegainPause, RegainPauseMax time.Duration
	// StopSlack is how long after the grace period of a Stop the end of the
	// execution is waited for.
	StopSlack time.Duration
	// AbandonGrace is the grace period of a request that is cancelled because
	// the last app that waited for it is gone.
	AbandonGrace time.Duration

	// MaxRequests is how many requests may be under way at the same time.
	MaxRequests int
	// MaxServiceBytes is how much memory the services of requests may take, of
	// those under way and those that ended lately.
	MaxServiceBytes int
	// KeepEnded and KeepEndedFor say how many ended requests are kept, and
	// for how long, so that asking again finds the answer.
	KeepEnded    int
	KeepEndedFor time.Duration
	// OutputKept is how many bytes of output are kept for each request.
	OutputKept int
	// KeepUnknown is how many requests with an unknown end are asked about when
	// the node is back.
	KeepUnknown int
	// HistoryKept is how many events are kept of each request, the first and the
	// last ones; DecisionsKept how many decisions, the last ones.
	HistoryKept, DecisionsKept int
	// WatchBuffer is how many events may wait for one watcher.
	WatchBuffer int
	// JournalPause is the first pause before an end is written down again that
	// could not be; it doubles up to JournalPauseMax.
	JournalPause, JournalPauseMax time.Duration
	// Explained is how many devices the decision about a request names, so that
	// no request costs more in a large mesh. MaxExplained is how many are named
	// where that is all that is asked for, or why there is no node.
	Explained, MaxExplained int
}

// DefaultParams returns what Hearth runs with.
func DefaultParams() Params {
	return Params{
		QueueCost:       3,
		LevelCap:        4,
		Spread:          0.05,
		BoundFactor:     3,
		RefusableOffers: 2,

		WaitFactor:   1,
		MinWait:      time.Second,
		LoneMinWait:  time.Minute,
		ReadyTimeout: 30 * time.Second,

		MinSpeedShare:  0.1,
		DefaultWork:    2,
		WorkWeight:     0.25,
		WorkKept:       1024,
		RanWeight:      0.05,
		RanProof:       2,
		RanMost:        4,
		FaultWeight:    0.25,
		FaultCost:      10,
		FaultHalfLife:  time.Minute,
		ExperienceKept: 1024,

		ColdStart:   20 * time.Second,
		ColdBase:    time.Second,
		PullRate:    4 << 20,
		ImageShrink: 0.4,
		StatusBeats: 3,

		ChangesPerBeat: 10,

		ImageWait:      1500 * time.Millisecond,
		ImageFactsFor:  10 * time.Minute,
		ImageSilentFor: time.Minute,
		ImagesKept:     256,

		AnswerTimeout:  5 * time.Second,
		RegainTimeout:  30 * time.Second,
		ResumeTimeout:  3 * time.Minute,
		Lease:          7 * time.Second,
		LeaseSlack:     time.Second,
		MaxMoves:       3,
		RegainPause:    100 * time.Millisecond,
		RegainPauseMax: 3 * time.Second,
		StopSlack:      10 * time.Second,
		AbandonGrace:   10 * time.Second,

		MaxRequests:     4096,
		MaxServiceBytes: 64 << 20,
		KeepEnded:       100,
		KeepEndedFor:    5 * time.Minute,
		OutputKept:      256 << 10,
		KeepUnknown:     256,
		HistoryKept:     64,
		DecisionsKept:   4,
		WatchBuffer:     4096,
		JournalPause:    time.Second,
		JournalPauseMax: time.Minute,
		Explained:       32,
		MaxExplained:    256,
	}
}
