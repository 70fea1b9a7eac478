package protocol

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/protocol/pb"
	"github.com/hearth-edge/hearth/protocol/protocoltest"
)

func BenchmarkStatusEncode(b *testing.B) {
	s := sampleStatus()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := EncodeStatus(s); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStatusDecode(b *testing.B) {
	enc, err := EncodeStatus(sampleStatus())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(len(enc)), "bytes")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeStatus(enc); err != nil {
			b.Fatal(err)
		}
	}
}

// From the offer to its acceptance and back to nothing.
func BenchmarkOffer(b *testing.B) {
	d := &device{offer: func(context.Context, Offer) (Session, error) { return newScript(), nil }}
	c, l := executeLink(b, d)
	b.ReportAllocs()
	for b.Loop() {
		s, err := c.Offer(context.Background(), sampleOffer())
		if err != nil {
			b.Fatal(err)
		}
		_ = s.Close()
		<-l.served
	}
}

func BenchmarkOutput(b *testing.B) {
	const size = 64 << 10
	s := newScript()
	c, _ := executeLink(b, running(s))
	sess := mustOffer(b, c)
	b.SetBytes(size)
	go func() {
		p := make([]byte, size)
		for range b.N {
			_ = s.Output(context.Background(), Stdout, p)
		}
		s.finish(StateSucceeded)
	}()
	for {
		if _, err := sess.Next(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			b.Fatal(err)
		}
	}
}

// A frame written, and read again at the other end.
func BenchmarkFrame(b *testing.B) {
	near, far := protocoltest.Pipe()
	out, in := newWire(near), newWire(far)
	offer := sampleOffer()
	sent := offerToPB(&offer)
	read := make(chan error)
	defer close(read)
	b.ReportAllocs()
	for b.Loop() {
		go func() { read <- in.receive(new(pb.Offer)) }()
		if err := out.send(sent, nil, time.Minute); err != nil {
			b.Fatal(err)
		}
		if err := <-read; err != nil {
			b.Fatal(err)
		}
	}
}
