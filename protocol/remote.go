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

// ask opens a stream, sends the first frame, and the service that follows an
// opening, and waits for its acceptance, as long as ctx allows. opened tells whether anything can have been sent.
func ask(ctx context.Context, open func(context.Context) (Stream, error), first proto.Message) (w *wire, opened bool, err error) {
	stream, err := open(ctx)
	if err != nil {
		return nil, false, err
	}
	release := context.AfterFunc(ctx, func() { _ = stream.Reset() })
	w = newWire(stream)
	answer := new(pb.Answer)
	var service []byte
	if o, ok := first.(opening); ok {
		first, service = o.Message, o.service
	}
	if err = w.send(first, nil, frameTimeout); err == nil {
		err = w.exchange(service, answer)
	}
	if !release() {
		return nil, true, context.Cause(ctx)
	}
	if err != nil {
		_ = stream.Reset()
		return nil, true, broken(err)
	}
	if err = answerFromPB(answer); err != nil {
		_ = stream.Close()
		return nil, true, err
	}
	return w, true, nil
}

// exchange sends the service, if any, and receives the answer, which may come
// before all of that is out: then it is a no.
func (w *wire) exchange(service []byte, answer *pb.Answer) error {
	if len(service) == 0 {
		return unexpected(w.receive(answer))
	}
	sent := make(chan error, 1)
	go func() {
		err := w.sendService(service)
		if err != nil {
			_ = w.stream.Reset() // no answer comes to half a service
		}
		sent <- err
	}()
	err := unexpected(w.receive(answer))
	if err != nil || answer.GetAccepted() == nil {
		_ = w.stream.Reset() // the rest is read by nobody
	}
	return errors.Join(err, whileAccepted(<-sent, answer))
}

// whileAccepted is err, unless the asker was turned away: then nobody cares
// whether all was sent.
func whileAccepted(err error, answer *pb.Answer) error {
	if answer.GetAnswer() != nil && answer.GetAccepted() == nil {
		return nil
	}
	return err
}

// maxEvents is how many events a session may have, progress apart: whoever
// keeps them must not be filled up by the other side.
const maxEvents = 10_000

// remoteSession is a Session at the other end of a stream. Its pump reads the
// stream into a queue that Next takes from, so that credit for input comes in
// while nobody calls Next.
type remoteSession struct {
	w      *wire
	queue  *queue
	pumped chan struct{} // closed when the pump has ended
	more   chan struct{} // holds a token when there may be credit, or inputEnd
	early  bool          // it may end before what it is about has

	// The pump owns these.
	next   [Stderr + 1]uint64 // offset of each channel's next byte
	later  [Stderr + 1]bool   // it may be a later one; see Attach.Since
	last   *Event
	events int

	mu       sync.Mutex // guards the rest
	credit   int        // how much input may be sent
	inputEnd error      // what Write returns; nil while input is open
	over     bool       // the end was received
}

// newRemoteSession takes over w, on which a session was accepted as a asks for;
// the zero value stands for a new execution. The caller must Close it.
func newRemoteSession(w *wire, a Attach) *remoteSession {
	s := &remoteSession{
		w: w, queue: newQueue(), pumped: make(chan struct{}), more: make(chan struct{}, 1),
		early: a.NoFollow, credit: inputWindow,
	}
	s.next[Stdout], s.next[Stderr] = a.Stdout, a.Stderr
	s.later[Stdout], s.later[Stderr] = a.Since > 0, a.Since > 0
	go s.pump()
	return s
}

// pump fills the queue until the stream or the queue ends.
func (s *remoteSession) pump() {
	defer close(s.pumped)
	err := contain(s.receive)
	if err == io.EOF || s.last != nil && s.last.State.Ended() { //nolint:errorlint // only receive itself says so
		// What becomes of the stream after the end changes nothing.
		s.mu.Lock()
		s.over = true
		s.mu.Unlock()
		s.endInput(io.ErrClosedPipe)
		s.queue.end(io.EOF)
		_ = s.w.stream.Close()
		return
	}
	s.endInput(err)
	if s.queue.end(err) {
		_ = s.w.stream.Reset()
	} // else Close closes it in order: a Stop may still be on its way
}

// receive queues all updates and returns why there are no more: io.EOF where the
// other side said that this is all.
func (s *remoteSession) receive() error {
	var parts decisionParts
	for {
		m := new(pb.Update)
		if err := s.w.receive(m); err != nil {
			return broken(unexpected(err))
		}
		var err error
		switch v := m.GetUpdate().(type) {
		case *pb.Update_Event:
			err = s.receiveEvent(v.Event)
		case *pb.Update_Output:
			err = s.receiveOutput(v.Output)
		case *pb.Update_Decision:
			var d *Decision
			if d, err = parts.add(v.Decision); d != nil {
				err = s.queue.put(Update{Decision: d})
			}
		case *pb.Update_Credit:
			err = s.addCredit(v.Credit.GetBytes())
		case *pb.Update_InputClosed:
			s.endInput(io.ErrClosedPipe)
		case *pb.Update_Error:
			return errorFromPB(v.Error)
		case *pb.Update_Complete:
			if s.early {
				return io.EOF
			}
			err = Errorf(CodeInvalid, "session: it is complete before its end")
		}
		if err != nil {
			return broken(err)
		}
	}
}

func (s *remoteSession) receiveEvent(p *pb.Event) error {
	e, err := eventFromPB(p)
	if err != nil {
		return err
	}
	if !supersedes(&e, s.last) {
		s.events++
	}
	if s.events > maxEvents {
		return Errorf(CodeInvalid, "session: more than %d events", maxEvents)
	}
	s.last = &e
	return s.queue.put(Update{Event: &e})
}

// receiveOutput checks that output follows on what came before it.
func (s *remoteSession) receiveOutput(p *pb.Data) error {
	if p.GetChannel() != pb.Channel_CHANNEL_STDOUT && p.GetChannel() != pb.Channel_CHANNEL_STDERR {
		return Errorf(CodeInvalid, "output: it is on channel %d", p.GetChannel())
	}
	raw, err := s.w.receiveRaw(p.GetLength())
	if err != nil {
		return err
	}
	c := Channel(p.GetChannel())
	inBounds := p.GetCut() <= math.MaxInt64 && p.GetOffset() <= math.MaxInt64
	if inBounds && s.later[c] {
		s.next[c] = max(s.next[c], p.GetOffset()-min(p.GetOffset(), p.GetCut()))
		s.later[c] = false
	}
	if !inBounds || p.GetOffset() != s.next[c]+p.GetCut() {
		return Errorf(CodeInvalid, "output: offset %d with cut %d does not follow on %d", p.GetOffset(), p.GetCut(), s.next[c])
	}
	s.next[c] = p.GetOffset() + uint64(len(raw))
	if p.GetCut() == 0 && len(raw) == 0 {
		return nil
	}
	data := append([]byte(nil), raw...)
	return s.queue.put(Update{Output: &Output{Channel: c, Offset: p.GetOffset(), Cut: p.GetCut(), Data: data, At: nanoFromPB(p.GetAt())}})
}

func (s *remoteSession) addCredit(n uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if uint64(s.credit)+uint64(n) > inputWindow {
		return Errorf(CodeInvalid, "credit: more than the window")
	}
	s.credit += int(n)
	token(s.more)
	return nil
}

// endInput makes Write return err from now on.
func (s *remoteSession) endInput(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inputEnd == nil {
		s.inputEnd = err
	}
	token(s.more)
}

// Next implements Session.
func (s *remoteSession) Next() (Update, error) { return s.queue.take() }

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

// Signal implements Session. A name that is not one of signal(7) is an *Error
// with CodeInvalid.
func (s *remoteSession) Signal(name string) error {
	if err := checkSignal(name); err != nil {
		return err
	}
	return s.wish(&pb.Wish{Wish: &pb.Wish_Signal{Signal: &pb.Signal{Name: name}}}, nil)
}

// Resize implements Session.
func (s *remoteSession) Resize(rows, columns uint16) error {
	return s.wish(&pb.Wish{Wish: &pb.Wish_Resize{Resize: sizeToPB(rows, columns)}}, nil)
}

// wish sends m. The other side always reads, hence the deadline. After the
// session's end nothing is wished, and that is no error.
func (s *remoteSession) wish(m *pb.Wish, raw []byte) error {
	err := s.w.send(m, raw, frameTimeout)
	if err == nil {
		return nil
	}
	_ = s.w.stream.Reset() // a part of the frame may be out
	s.mu.Lock()
	over := s.over
	s.mu.Unlock()
	switch {
	case !over:
		return broken(err)
	case len(raw) > 0:
		return io.ErrClosedPipe
	}
	return nil
}

// Close implements Session.
func (s *remoteSession) Close() error {
	s.queue.close()
	s.endInput(io.ErrClosedPipe)
	err := s.w.stream.Close()
	<-s.pumped
	return err
}
