package p2p

import (
	"context"
	"encoding/binary"
	"log/slog"
	"sync"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	libp2pproto "github.com/libp2p/go-libp2p/core/protocol"
	"google.golang.org/protobuf/proto"

	"github.com/hearth-edge/hearth/protocol"
)

const (
	// maxGossipMessage is the largest gossip message: some statuses and their envelopes.
	maxGossipMessage = 64 << 10
	// seenTTL is how long a message is recognised when it comes again; the
	// sequence keeps out older ones.
	seenTTL = 10 * time.Second
	// maxQueuedStatuses is how many statuses wait for OnStatus; more are dropped, since
	// newer ones follow.
	maxQueuedStatuses = 256
	// readyPollInterval is how soon gossip looks again whether it reaches a new neighbour,
	// for pubsub tells of no event that says so; each further look comes after
	// twice the time, up to readyTimeout. Where it does not from repairTimeout on, pubsub
	// is told anew of the neighbour.
	readyPollInterval, repairTimeout = time.Millisecond, time.Second
	// forwardStatusIntervals is for how many intervals after a device joined all statuses are
	// passed on, so that it hears of everybody; later each forwardInterval-th is by
	// each device.
	forwardStatusIntervals, forwardInterval = 2, 16
)

// gossipProtocols is the only protocol of pubsub here. Later ones help with
// long messages, and all members would need them.
var gossipProtocols = []libp2pproto.ID{pubsub.GossipSubID_v11}

// gossip is the status topic.
type gossip struct {
	self    peer.ID
	members *members
	// onAddresses is told where a device can be dialled; it must not block.
	onAddresses func(peer.ID, []string)
	// detector knows the connections, and has frames sent on them.
	detector *detector
	// handleStream is pubsub's handler of inbound gossip; it returns when the stream ends.
	handleStream network.StreamHandler
	// subscription is a neighbour's first message to pubsub: it subscribes to
	// the topic. All members subscribe, so each device feeds it to its own
	// pubsub. Pubsub forgets subscriptions when a stream ends, and the
	// neighbour would not know.
	subscription []byte
	done         <-chan struct{} // closed when pubsub ends
	log          *slog.Logger

	host  *streams
	pub   *pubsub.PubSub
	topic *pubsub.Topic
	// statuses are those that wait for OnStatus.
	statuses chan *protocol.Status

	mu      sync.Mutex // owns what follows
	drops   map[string]uint64
	counter uint64           // of the next status of this device
	latest  *protocol.Status // of this device; nil before the first
}

// join subscribes to the topic; pubsub ends with ctx.
func (g *gossip) join(ctx context.Context, h *streams, topic string) (err error) {
	g.host, g.done = h, ctx.Done()
	if g.subscription, err = encodeSubscription(topic); err != nil {
		return err
	}
	g.pub, err = pubsub.NewGossipSub(ctx, &neighbourHost{h, g},
		pubsub.WithGossipSubProtocols(gossipProtocols, pubsub.GossipSubDefaultFeatures),
		pubsub.WithGossipSubParams(gossipParams()),
		pubsub.WithFloodPublish(true), // else the first status waits for a heartbeat
		pubsub.WithMessageSignaturePolicy(pubsub.StrictSign),
		pubsub.WithPeerExchange(false),
		pubsub.WithMaxMessageSize(maxGossipMessage),
		pubsub.WithSubscriptionFilter(pubsub.WrapLimitSubscriptionFilter(pubsub.NewAllowlistSubscriptionFilter(topic), 16)),
		pubsub.WithSeenMessagesTTL(seenTTL),
		pubsub.WithValidateWorkers(1), // keeps the order of what arrives
	)
	if err != nil {
		return err
	}
	if err = g.pub.RegisterTopicValidator(topic, g.validate, pubsub.WithValidatorInline(true)); err != nil {
		return err
	}
	if g.topic, err = g.pub.Join(topic); err != nil {
		return err
	}
	g.statuses = make(chan *protocol.Status, maxQueuedStatuses)
	_, err = g.topic.Relay() // the validator is who takes the statuses
	return err
}

// encodeSubscription returns pubsub's message to subscribe to the topic.
func encodeSubscription(topic string) ([]byte, error) {
	rpc := &pb.RPC{Subscriptions: []*pb.RPC_SubOpts{{Subscribe: proto.Bool(true), Topicid: &topic}}}
	data, err := proto.Marshal(rpc)
	return append(binary.AppendUvarint(nil, uint64(len(data))), data...), err
}

// gossipParams suit neighbours that are few and chosen already. The library's
// own choice among them left some devices without any neighbour, for good.
// Missed statuses are not asked for, since newer ones follow.
func gossipParams() pubsub.GossipSubParams {
	p := pubsub.DefaultGossipSubParams()
	p.D, p.Dlo, p.Dhi, p.Dscore, p.Dout = maxNeighbours, maxNeighbours, maxNeighbours, 0, 0
	p.Dlazy, p.GossipFactor = 0, 0
	p.Connectors = 0 // only the connector dials
	return p
}

// publish sends this device's status, under its name and the next sequence.
func (g *gossip) publish(ctx context.Context, s protocol.Status) error {
	data, err := g.encode(&s)
	if err != nil {
		return err
	}
	g.detector.sendStatus(data)
	return g.topic.Publish(ctx, data)
}

// republish gossips the latest status once more. Devices without a connection
// to this one learn its addresses from it.
func (g *gossip) republish(ctx context.Context) {
	status := g.ownStatus()
	if status == nil {
		return
	}
	if err := g.topic.Publish(ctx, status); err != nil && ctx.Err() == nil {
		g.log.Warn("the score could not be gossiped", "err", err)
	}
}

// encode returns a status under the next sequence: a new one, which is the latest from
// then on if it is within bounds, or with nil the latest; nil if there is none. A newer
// sequence is never of an older status.
func (g *gossip) encode(status *protocol.Status) ([]byte, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if status == nil {
		status = g.latest
	}
	if status == nil {
		return nil, nil
	}
	s := *status
	s.Sequence = g.counter
	data, err := protocol.EncodeStatus(s)
	if err == nil {
		g.counter++
		g.latest = status
	}
	return data, err
}

// ownStatus returns this device's latest status, encoded under the next sequence; nil
// before the first.
func (g *gossip) ownStatus() []byte {
	data, err := g.encode(nil)
	if err != nil {
		g.log.Error("a score that could be sent cannot be any more", "err", err)
	}
	return data
}

// handleDirect takes a status that a device handed over on their connection.
func (g *gossip) handleDirect(from peer.ID, data []byte) { g.receive(from, from, data) }

// validate takes each message, and decides whether it is passed on. Its signature
// was checked before. Only what can be nobody's mistake but the sender's is
// rejected, the rest ignored.
func (g *gossip) validate(_ context.Context, sender peer.ID, msg *pubsub.Message) pubsub.ValidationResult {
	from := msg.GetFrom()
	if from == g.self {
		if sender == g.self {
			return pubsub.ValidationAccept
		}
		return pubsub.ValidationIgnore
	}
	verdict := pubsub.ValidationReject
	_ = contain(g.log, sender, func() error {
		verdict = g.receive(from, sender, msg.GetData())
		return nil
	})
	return verdict
}

// receive takes a status of another device, or counts why it does not.
func (g *gossip) receive(from, sender peer.ID, data []byte) pubsub.ValidationResult {
	s, reason, verdict := g.check(from, sender, data)
	if verdict != pubsub.ValidationAccept {
		g.countDrop(reason)
		return verdict
	}
	if s.direct {
		s.Name = g.members.names.displayName(s.Name, from)
		select {
		case g.statuses <- s.Status:
		default:
		}
	}
	g.onAddresses(from, s.Addresses)
	if !g.shouldForward(from, s.Status) {
		return pubsub.ValidationIgnore
	}
	return verdict
}

// shouldForward reports whether to pass a status on. In a full mesh every
// device gets it from its sender; forwarding helps those that are not connected
// to the sender yet.
func (g *gossip) shouldForward(from peer.ID, s *protocol.Status) bool {
	return !g.members.fullMesh() || (s.Sequence+g.forwardOffset())%forwardInterval == 0 || !g.members.has(from) || g.members.sinceJoin() < forwardStatusIntervals*s.Interval
}

// forwardOffset says which of the statuses this device passes on: others do so with others.
func (g *gossip) forwardOffset() uint64 { return uint64(g.self[len(g.self)-1]) }

// A checkedStatus passed all checks. It is direct if its device handed one over
// on the present connection. Until then a forwarded status may be of any age.
type checkedStatus struct {
	*protocol.Status
	direct bool
}

// check returns the status in data, or why it is not taken.
func (g *gossip) check(from, sender peer.ID, data []byte) (*checkedStatus, string, pubsub.ValidationResult) {
	if len(data) > protocol.MaxStatus {
		return nil, "size", pubsub.ValidationReject
	}
	if !g.members.has(from) && !g.members.allowRelayed(sender) {
		return nil, "unknown", pubsub.ValidationIgnore
	}
	s, err := protocol.DecodeStatus(data)
	if err != nil {
		return nil, "malformed", pubsub.ValidationReject
	}
	if s.Node != peerID(from) {
		return nil, "subject", pubsub.ValidationReject
	}
	// Another name of this device it has proved in no handshake here.
	if claim := g.members.claimedNameOf(from); claim != "" && claim != s.Name {
		return nil, "name", pubsub.ValidationIgnore
	}
	direct, reason, ask := g.members.acceptSequence(from, sender, s.Sequence)
	if ask {
		g.detector.requestStatus(from)
	}
	if reason != "" {
		return nil, reason, pubsub.ValidationIgnore
	}
	return &checkedStatus{&s, direct}, "", pubsub.ValidationAccept
}

// countDrop counts a message that was not taken.
func (g *gossip) countDrop(reason string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.drops[reason]++
}

// noteGarbled is called where pubsub does not go on to hear a neighbour. It returns false
// where that is because the connection is over, or gossip.
func (g *gossip) noteGarbled(over <-chan struct{}) bool {
	select {
	case <-over:
		return false
	case <-g.done:
		return false
	default:
		g.countDrop("garbled")
		return true
	}
}

// dropped returns how many messages were not taken, by reason.
func (g *gossip) dropped() map[string]uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := make(map[string]uint64, len(g.drops))
	for k, v := range g.drops {
		out[k] = v
	}
	return out
}

// run hands the statuses of proven members to onStatus until ctx ends. A status of a
// device that has not connected here yet only tells where to dial it.
func (g *gossip) run(ctx context.Context, onStatus func(protocol.Status)) {
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-g.statuses:
			onStatus(*s)
		}
	}
}

// maintainNeighbours picks whom this device gossips with. It watches until gossip reaches
// each new neighbour, and from time to time whether it still does. It ends with ctx.
func (g *gossip) maintainNeighbours(ctx context.Context) {
	look := time.NewTimer(0)
	defer look.Stop()
	ranking := time.NewTimer(0)
	ranking.Stop()
	defer ranking.Stop()
	var unranked time.Time // since when members have changed
	for pause := readyPollInterval; ; {
		select {
		case <-g.members.notifyMembers:
			pause = readyPollInterval
			g.updateNeighbours(true)
			if unranked.IsZero() {
				unranked = time.Now()
			}
			ranking.Reset(min(rankDelay, maxRankDelay-time.Since(unranked)))
		case <-ranking.C:
			pause, unranked = readyPollInterval, time.Time{}
			g.updateNeighbours(false)
		case <-look.C:
			pause = nextPoll(pause)
		case <-ctx.Done():
			return
		}
		first, missing := g.members.updateReached(g.pub.ListPeers(g.topic.String()))
		if len(missing) == 0 {
			pause = readyTimeout
		} else if pause > repairTimeout {
			g.addNeighbours(missing)
		}
		look.Reset(pause)
		if first {
			g.republish(ctx)
		}
	}
}

// nextPoll returns when to look again whether gossip reaches all neighbours, after it
// was looked so long after the last time.
func nextPoll(pause time.Duration) time.Duration { return min(2*pause, readyTimeout) }

// updateNeighbours has pubsub know the neighbours.
func (g *gossip) updateNeighbours(keepPicks bool) {
	r := g.members.updateNeighbours(keepPicks)
	g.detector.sendPicks(r.picks)
	for _, c := range r.removed {
		if w := g.detector.monitorOf(c); w != nil {
			w.closeGossip()
		}
	}
	g.addNeighbours(r.added)
}

// addNeighbours has pubsub take up neighbours; nothing changes for those that it knows.
func (g *gossip) addNeighbours(conns []network.Conn) {
	for _, c := range conns {
		if w := g.detector.monitorOf(c); w != nil {
			w.openInbound()
			g.host.announceNeighbour(c)
		}
	}
}

// monitorOf returns the connection to a neighbour, or nil.
func (g *gossip) monitorOf(id peer.ID) *monitor {
	if c := g.members.conn(id); c != nil {
		return g.detector.monitorOf(c)
	}
	return nil
}
