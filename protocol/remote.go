package protocol

import (
	"context"
	"errors"
	"io"
	"math"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/hearth-edge/hearth/protocol/pb"
)

// ask opens a stream, sends the first frame and waits for its acceptance, as
// long as ctx allows. opened tells whether anything can have been sent.
func ask(ctx context.Context, open func(context.Context) (Stream, error), first proto.Message) (w *wire, opened bool, err error) {
	stream, err := open(ctx)
	if err != nil {
		return nil, false, err
	}
	release := context.AfterFunc(ctx, func() { _ = stream.Reset() })
	w = newWire(stream)
	answer := new(pb.Answer)
	if err = w.send(first, nil, frameTimeout); err == nil {
		err = unexpected(w.receive(answer))
	}
	if !release() {
		return nil, true, context.Cause(ctx)
	}
	if err != nil {
		_ = stream.Reset()
		return nil, true, broken(err)
	}
	refused, err := answerFromPB(answer)
	if err = errors.Join(refused, err); err != nil {
		_ = stream.Close()
		return nil, true, err
	}
	return w, true, nil
}

// remoteSession is a Session at the other end of a stream. Its pump reads the
// stream into a feed that Next reads from, so that credit for input comes in
// while nobody calls Next.
type remoteSession struct {
	w       *wire
	feed    *Feed
	updates *FeedReader
	release context.CancelFunc // ends the pump's wait for Next
	pumped  chan struct{}      // closed when the pump has ended
	outcome error              // set by then: io.EOF, or why it broke

	more chan struct{} // holds a token when something below has changed

	mu       sync.Mutex // guards the rest
	credit   int        // how much input may be sent
	inputEnd error      // what Write returns; nil while input is open
}

// newRemoteSession takes over w, on which a session was accepted that sends
// output from the given offsets on. The caller must Close it.
func newRemoteSession(w *wire, stdout, stderr uint64) *remoteSession {
	ctx, release := context.WithCancel(context.Background())
	s := &remoteSession{
		w: w, feed: NewFeed(DefaultOutputLimit), release: release,
		pumped: make(chan struct{}), more: make(chan struct{}, 1), credit: inputWindow,
	}
	s.feed.Cut(Stdout, stdout)
	s.feed.Cut(Stderr, stderr)
	s.updates = s.feed.Reader(stdout, stderr)
	go s.pump(ctx)
	return s
}

// pump fills the feed until the stream ends or ctx does.
func (s *remoteSession) pump(ctx context.Context) {
	defer close(s.pumped)
	ended, err := s.receive(ctx)
	if ended {
		// What happens to the stream after the end changes nothing.
		s.outcome, err = io.EOF, io.ErrClosedPipe
		_ = s.w.stream.Close()
	} else {
		s.outcome = err
		_ = s.w.stream.Reset()
	}
	s.endInput(err)
	s.feed.End()
}

// receive takes in all updates. It returns why there are no more, and whether
// the last event was an end.
func (s *remoteSession) receive(ctx context.Context) (ended bool, err error) {
	var parts decisionParts
	for {
		m := new(pb.Update)
		if err := s.w.receive(m); err != nil {
			return ended, broken(unexpected(err))
		}
		switch v := m.GetUpdate().(type) {
		case *pb.Update_Event:
			var e Event
			if e, err = eventFromPB(v.Event); err == nil {
				ended = e.State.Ended()
				s.feed.Event(e)
			}
		case *pb.Update_Output:
			err = s.receiveOutput(ctx, v.Output)
		case *pb.Update_Decision:
			var d *Decision
			if d, err = parts.add(v.Decision); d != nil {
				s.feed.Decision(*d)
			}
		case *pb.Update_Credit:
			err = s.addCredit(v.Credit.GetBytes())
		case *pb.Update_InputClosed:
			s.endInput(io.ErrClosedPipe)
		case *pb.Update_Error:
			return false, errorFromPB(v.Error)
		}
		if err != nil {
			return ended, broken(err)
		}
	}
}

// receiveOutput checks that output follows on what came before it.
func (s *remoteSession) receiveOutput(ctx context.Context, p *pb.Data) error {
	if p.GetChannel() != pb.Channel_CHANNEL_STDOUT && p.GetChannel() != pb.Channel_CHANNEL_STDERR {
		return Errorf(CodeInvalid, "output: it is on channel %d", p.GetChannel())
	}
	raw, err := s.w.receiveRaw(p.GetLength())
	if err != nil {
		return err
	}
	c := Channel(p.GetChannel())
	stdout, stderr := s.feed.Offsets()
	next := stdout
	if c == Stderr {
		next = stderr
	}
	if p.GetCut() > math.MaxInt64 || p.GetOffset() > math.MaxInt64 || p.GetOffset() != next+p.GetCut() {
		return Errorf(CodeInvalid, "output: offset %d with cut %d does not follow on %d", p.GetOffset(), p.GetCut(), next)
	}
	s.feed.Cut(c, p.GetCut())
	return s.feed.Output(ctx, c, raw)
}

func (s *remoteSession) addCredit(n uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if uint64(s.credit)+uint64(n) > inputWindow {
		return Errorf(CodeInvalid, "credit: more than the window")
	}
	s.credit += int(n)
	s.inputChanged()
	return nil
}

// endInput makes Write return err from now on.
func (s *remoteSession) endInput(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inputEnd == nil {
		s.inputEnd = err
	}
	s.inputChanged()
}

func (s *remoteSession) inputChanged() {
	select {
	case s.more <- struct{}{}:
	default:
	}
}

// Next implements Session.
func (s *remoteSession) Next() (Update, error) {
	u, err := s.updates.Next()
	if err == io.EOF {
		<-s.pumped
		err = s.outcome
	}
	return u, err
}

// Write implements Session.
func (s *remoteSession) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		n, err := s.takeCredit(min(len(p), maxPiece))
		if err != nil {
			return written, err
		}
		m := &pb.Wish{Wish: &pb.Wish_Input{Input: &pb.Data{Length: uint32(n)}}}
		if err := s.wish(m, p[:n]); err != nil {
			return written, err
		}
		p, written = p[n:], written+n
	}
	return written, nil
}

// takeCredit blocks until some input may be sent, and returns how much, up to n.
func (s *remoteSession) takeCredit(n int) (int, error) {
	for {
		s.mu.Lock()
		err := s.inputEnd
		n := min(n, s.credit)
		if err == nil {
			s.credit -= n
		}
		s.mu.Unlock()
		if err != nil || n > 0 {
			return n, err
		}
		<-s.more
	}
}

// CloseWrite implements Session.
func (s *remoteSession) CloseWrite() error {
	s.mu.Lock()
	open := s.inputEnd == nil
	s.mu.Unlock()
	if !open {
		return nil
	}
	s.endInput(io.ErrClosedPipe)
	return s.wish(&pb.Wish{Wish: &pb.Wish_CloseInput{CloseInput: &pb.CloseInput{}}}, nil)
}

// Stop implements Session.
func (s *remoteSession) Stop(grace time.Duration) error {
	return s.wish(&pb.Wish{Wish: &pb.Wish_Stop{Stop: &pb.Stop{Grace: durationToPB(grace)}}}, nil)
}

// wish sends m. The other side always reads, hence the deadline. Once the
// session has ended nothing is wished, and that is no error.
func (s *remoteSession) wish(m *pb.Wish, raw []byte) error {
	err := s.w.send(m, raw, frameTimeout)
	if err == nil {
		return nil
	}
	_ = s.w.stream.Reset() // a part of the frame may be out
	<-s.pumped
	if s.outcome != io.EOF {
		return broken(err)
	}
	if raw != nil {
		return io.ErrClosedPipe
	}
	return nil
}

// Close implements Session.
func (s *remoteSession) Close() error {
	_ = s.updates.Close()
	s.endInput(io.ErrClosedPipe)
	s.release()
	err := s.w.stream.Close()
	// Where closing does not end a blocked Read, this does.
	_ = s.w.stream.SetReadDeadline(time.Now())
	<-s.pumped
	return err
}
