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
	// MaxLevelFactor bounds the water level to this many times the best estimate:
	// no node that is worse than that is ever drawn.
	MaxLevelFactor float64
	// Spread is the share of all slots that the water level makes room for at
	// least: what other orchestrators may be placing with the same statuses.
	Spread float64
	// BoundFactor times the second-best estimate is what a node may need and
	// still take the offer with all its slots taken.
	BoundFactor float64
	// RefusableOffers is how many offers a busy node may refuse; the next one
	// is forced.
	RefusableOffers int

	// WaitFactor times the second-best estimate, with waiting counted QueueCost
	// times, is how long a request may wait in a node's queue; at least
	// MinWait. Then the node gives it back. On the only possible node it is at
	// least MinLoneWait: giving up a place in the queue would be for nothing.
	WaitFactor           float64
	MinWait, MinLoneWait time.Duration
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
	// MaxWorkSeen is of how many services the work is remembered.
	MaxWorkSeen int
	// RunWeight is the weight of the newest execution in the moving average of
	// how much longer executions run on a node than by its speed; RunDeviations is how
	// many standard deviations of that may be chance; MaxSlowdown bounds it, to
	// either side.
	RunWeight, RunDeviations, MaxSlowdown float64
	// FaultWeight is the weight of the newest execution in the share of those that
	// a node lost by a fault of its own; it fades with FaultHalfLife. With all
	// lost, executions are taken to last FaultCost times as long there.
	FaultWeight, FaultCost float64
	FaultHalfLife          time.Duration
	// MaxExperiences is of how many nodes that is remembered.
	MaxExperiences int
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
	// ImageTimeout bounds the question to the engine or the registry about an
	// image. ImageFactsTTL is how long an answer counts. ImageRetryInterval is
	// the pause after a question without an answer.
	ImageTimeout, ImageFactsTTL, ImageRetryInterval time.Duration
	// MaxImageFacts is of how many images that is remembered.
	MaxImageFacts int
	// StaleIntervals is for how many of its intervals a status counts.
	StaleIntervals int
	// ChangesPerInterval is how often within an interval devices gossip that their load
	// has changed: one that nothing was heard of for longer is as it was. 0 is
	// never.
	ChangesPerInterval int

	// AnswerTimeout bounds the wait for the answer to an offer or an attach.
	AnswerTimeout time.Duration
	// ReattachTimeout is for how long an orchestrator tries to take up an
	// execution again that it lost touch with.
	ReattachTimeout time.Duration
	// ResumeTimeout is the same after a restart of this device: after a power cut
	// others are starting, too. It is also how long such a request waits for a
	// node that can run it.
	ResumeTimeout time.Duration
	// Lease is how long an attempt of a request that may be retried goes on
	// after its last renewal. LeaseGrace is for clocks that run at different
	// speeds, and for how long it takes to kill a container.
	Lease, LeaseGrace time.Duration
	// MaxMoves is how often a request is placed elsewhere because a node failed
	// before it had started anything.
	MaxMoves int
	// ReattachBackoff is the first pause between two such tries; it doubles up to
	// MaxReattachBackoff.
	ReattachBackoff, MaxReattachBackoff time.Duration
	// StopGrace is how long after the grace period of a Stop the end of the
	// execution is waited for.
	StopGrace time.Duration
	// AbandonGrace is the grace period of a request that is cancelled because
	// the last app that waited for it is gone.
	AbandonGrace time.Duration

	// MaxRequests is how many requests may be under way at the same time.
	MaxRequests int
	// MaxServiceBytes is how much memory the services of requests may take, of
	// those under way and those that ended lately.
	MaxServiceBytes int
	// MaxEnded and EndedTTL say how many ended requests are kept, and
	// for how long, so that asking again finds the answer.
	MaxEnded int
	EndedTTL time.Duration
	// MaxOutput is how many bytes of output are kept for each request.
	MaxOutput int
	// MaxUnknown is how many requests with an unknown end are asked about when
	// the node is back.
	MaxUnknown int
	// MaxHistory is how many events are kept of each request, the first and the
	// last ones; MaxDecisions how many decisions, the last ones.
	MaxHistory, MaxDecisions int
	// MaxWatchQueue is how many events may wait for one watcher.
	MaxWatchQueue int
	// JournalBackoff is the first pause before an end is written down again that
	// could not be; it doubles up to MaxJournalBackoff.
	JournalBackoff, MaxJournalBackoff time.Duration
	// NamedDevices is how many devices a request's decision names, so that a
	// large mesh costs no more. MaxNamedDevices is how many an explanation
	// names.
	NamedDevices, MaxNamedDevices int
}

// DefaultParams returns what Hearth runs with.
func DefaultParams() Params {
	return Params{
		QueueCost:       3,
		MaxLevelFactor:  4,
		Spread:          0.05,
		BoundFactor:     3,
		RefusableOffers: 2,

		WaitFactor:   1,
		MinWait:      time.Second,
		MinLoneWait:  time.Minute,
		ReadyTimeout: 30 * time.Second,

		MinSpeedShare:  0.1,
		DefaultWork:    2,
		WorkWeight:     0.25,
		MaxWorkSeen:    1024,
		RunWeight:      0.05,
		RunDeviations:  2,
		MaxSlowdown:    4,
		FaultWeight:    0.25,
		FaultCost:      10,
		FaultHalfLife:  time.Minute,
		MaxExperiences: 1024,

		ColdStart:      20 * time.Second,
		ColdBase:       time.Second,
		PullRate:       4 << 20,
		ImageShrink:    0.4,
		StaleIntervals: 3,

		ChangesPerInterval: 10,

		ImageTimeout:       1500 * time.Millisecond,
		ImageFactsTTL:      10 * time.Minute,
		ImageRetryInterval: time.Minute,
		MaxImageFacts:      256,

		AnswerTimeout:      5 * time.Second,
		ReattachTimeout:    30 * time.Second,
		ResumeTimeout:      3 * time.Minute,
		Lease:              7 * time.Second,
		LeaseGrace:         time.Second,
		MaxMoves:           3,
		ReattachBackoff:    100 * time.Millisecond,
		MaxReattachBackoff: 3 * time.Second,
		StopGrace:          10 * time.Second,
		AbandonGrace:       10 * time.Second,

		MaxRequests:       4096,
		MaxServiceBytes:   64 << 20,
		MaxEnded:          100,
		EndedTTL:          5 * time.Minute,
		MaxOutput:         256 << 10,
		MaxUnknown:        256,
		MaxHistory:        64,
		MaxDecisions:      4,
		MaxWatchQueue:     4096,
		JournalBackoff:    time.Second,
		MaxJournalBackoff: time.Minute,
		NamedDevices:      32,
		MaxNamedDevices:   256,
	}
}
