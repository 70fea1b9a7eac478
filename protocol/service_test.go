package protocol

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/hearth-edge/hearth/protocol/pb"
)

// fill sets every field within v.
func fill(t *testing.T, v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("zebra")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int64:
		v.SetInt(int64(77 * time.Second))
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(7)
	case reflect.Float64:
		v.SetFloat(0.75)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(t, v.Index(i))
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		value := reflect.New(v.Type().Elem()).Elem()
		fill(t, value)
		v.SetMapIndex(reflect.ValueOf("key"), value)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i))
		}
	default:
		t.Fatalf("a field of kind %s: say here how to set it", v.Kind())
	}
}

// A service with every field set sets every field of the wire's Service, and is
// the same when it comes back: no field of either is left out, in either direction.
func TestServiceTravelsWhole(t *testing.T) {
	var want Service
	fill(t, reflect.ValueOf(&want).Elem())
	p := serviceToPB(&want)
	var count func(m protoreflect.Message)
	count = func(m protoreflect.Message) {
		for i := range m.Descriptor().Fields().Len() {
			f := m.Descriptor().Fields().Get(i)
			if !m.Has(f) {
				t.Errorf("hearth.proto's %s stays empty though every field of protocol.Service is set", f.FullName())
			}
			if f.IsList() && f.Kind() == protoreflect.MessageKind && m.Get(f).List().Len() > 0 {
				count(m.Get(f).List().Get(0).Message())
			}
		}
	}
	count(p.ProtoReflect())

	raw, err := proto.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var back pb.Service
	if err := proto.Unmarshal(raw, &back); err != nil {
		t.Fatal(err)
	}
	// It is not valid, as no service has everything; it is decoded all the same.
	if got, _ := serviceFromPB(&back); !reflect.DeepEqual(got, want) {
		t.Errorf("it comes back as\n%+v\nand was\n%+v", got, want)
	}
}

// largeService is as large as one may be, or one byte larger.
func largeService(t *testing.T, over int) Service {
	s := sampleSecrets()
	for range 8 {
		s.Args = append(s.Args, strings.Repeat("x", maxText))
	}
	for n := MaxService + over - s.EncodedSize(); n != 0; n = MaxService + over - s.EncodedSize() {
		if last := s.Args[7]; n < 0 {
			s.Args[7] = last[:len(last)+n]
		} else {
			t.Fatalf("%d bytes are left", n)
		}
	}
	return s
}

// A service as large as docker takes it reaches the orchestrator, the node, a
// plan, and whoever inspects it; one byte more is told as too much.
func TestLargeServiceTravels(t *testing.T) {
	large := largeService(t, 0)
	var got []Service
	d := running(ending())
	d.run = func(_ context.Context, r Run) (Session, error) { got = append(got, r.Service); return ending(), nil }
	d.offer = func(_ context.Context, o Offer) (Session, error) { got = append(got, o.Service); return ending(), nil }
	d.plan = func(_ context.Context, s Service) (Decision, error) {
		got = append(got, s)
		return sampleDecision(), nil
	}
	d.inspect = func(context.Context, RequestID) (RequestDetail, error) {
		return RequestDetail{RequestInfo: sampleInfo(), Service: large}, nil
	}
	app, l := appLink(t, d)
	e := newLink(t, func(ctx context.Context, s Stream) error { return ServeExecute(ctx, s, d, d, d, nodeA) })

	s, err := app.Run(t.Context(), Run{Service: large})
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	<-l.served
	if s, err = NewExecuteClient(e.open).Offer(t.Context(), Offer{Request: "r", Attempt: 1, Service: large}); err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	<-e.served
	if _, err := app.Plan(t.Context(), large); err != nil {
		t.Fatal(err)
	}
	detail, err := app.Inspect(t.Context(), "r")
	if err != nil {
		t.Fatal(err)
	}
	public := large.WithoutSecrets()
	for i, want := range []Service{large, large, public, public} {
		if g := append(got, detail.Service)[i]; !reflect.DeepEqual(g, want) {
			t.Errorf("%d: another service came, of %d bytes", i, g.EncodedSize())
		}
	}

	tooLarge := largeService(t, 1)
	if _, err := app.Run(t.Context(), Run{Service: tooLarge}); CodeOf(err) != CodeInvalid || !strings.Contains(err.Error(), "the most is 1048576") {
		t.Errorf("one byte too much: %v", err)
	}
}

// Nobody makes a device take a megabyte before the token is right: it is turned
// away at once, though the service is still on its way.
func TestServiceIsReadAfterTheTokenOnly(t *testing.T) {
	var left int
	d := running(ending())
	l := newLink(t, func(ctx context.Context, s Stream) error {
		counted := &countingStream{Stream: s}
		err := ServeApp(ctx, counted, testRights, d)
		left = counted.read
		return err
	})
	_, err := NewAppClient(l.open, "wrong").Run(t.Context(), Run{Service: largeService(t, 0)})
	if CodeOf(err) != CodeUnauthorized {
		t.Errorf("with a wrong token: %v", err)
	}
	<-l.served
	if left > 16<<10 {
		t.Errorf("%d bytes were read before the token was", left)
	}
}

type countingStream struct {
	Stream
	read int
}

func (s *countingStream) Read(p []byte) (int, error) {
	n, err := s.Stream.Read(p)
	s.read += n
	return n, err
}

// A device that does not know a field must not run the service without it: it
// does not get to see the service.
func TestFieldsThatMustBeKnownHideTheService(t *testing.T) {
	var whole Service
	fill(t, reflect.ValueOf(&whole).Elem())
	all := serviceToPB(&whole).ProtoReflect()
	all.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		p, length := &pb.Service{Image: "a"}, uint32(0)
		p.ProtoReflect().Set(f, v)
		raw, err := detach(&p, &length)
		if err != nil {
			t.Fatal(err)
		}
		if hidden, want := raw != nil, f.Number() > lastOfFirst && !mayBeMissed[f.Number()]; hidden != want || hidden != (p == nil) || len(raw) != int(length) {
			t.Errorf("%s: in a frame of its own: %v", f.Name(), hidden)
		}
		return true
	})
}

func TestServiceFrameOutOfBounds(t *testing.T) {
	service := serviceToPB(&Service{Image: "a"})
	for name, run := range map[string]*pb.Run{
		"twice": {Service: service, ServiceLength: 5},
		"huge":  {ServiceLength: MaxService + 1},
		"none":  {},
		"cut":   {Service: &pb.Service{Image: "a", Secrets: []*pb.Secret{{Name: "x", Size: 3}}}},
	} {
		l := newLink(t, func(ctx context.Context, s Stream) error { return ServeApp(ctx, s, testRights, running(ending())) })
		_, _, err := ask(t.Context(), l.open, &pb.AppRequest{Token: testToken, Verb: &pb.AppRequest_Run{Run: run}})
		if CodeOf(err) != CodeInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// However a service is printed, its secrets are not.
func TestSecretsAreNotPrinted(t *testing.T) {
	s := sampleSecrets()
	var text strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&text, verb, s)
		fmt.Fprintf(&text, verb, &s.Secrets[0])
	}
	slog.New(slog.NewJSONHandler(&text, nil)).Info("x", "service", s, "data", s.Secrets[0].Data)
	slog.New(slog.NewTextHandler(&text, nil)).Info("x", "service", s, "data", s.Secrets[0].Data)
	raw, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	text.Write(raw)
	for _, told := range []string{"hunter2", fmt.Sprintf("%x", "hunter2"), fmt.Sprintf("%d", []byte("hunter2")), "aHVudGVyMg"} {
		if strings.Contains(text.String(), told) {
			t.Errorf("%q is in %s", told, text.String())
		}
	}
	if !s.SecretsComplete() || len(s.WithoutSecrets().Secrets[0].Data) > 0 || len(s.Secrets[0].Data) != 7 {
		t.Error("the original lost its secret, or the copy kept it")
	}
}

func TestBadSecretsAndTags(t *testing.T) {
	many := make([]Secret, maxSecrets+1)
	for i := range many {
		many[i].Name = fmt.Sprint("s", i)
	}
	for name, s := range map[string]Service{
		"path":     {Secrets: []Secret{{Name: "../x"}}},
		"dot":      {Secrets: []Secret{{Name: "."}}},
		"empty":    {Secrets: []Secret{{}}},
		"twice":    {Secrets: []Secret{{Name: "a"}, {Name: "a"}}},
		"large":    {Secrets: []Secret{{Name: "a", Size: MaxSecret + 1}}},
		"cut":      {Secrets: []Secret{{Name: "a", Size: 2, Data: Confidential("x")}}},
		"many":     {Secrets: many},
		"covered":  {Secrets: []Secret{{Name: "a"}}, Tmpfs: []Tmpfs{{Target: SecretsDir}}},
		"replaced": {Secrets: []Secret{{Name: "a"}}, Mounts: []Mount{{Source: "/x", Target: SecretsDir + "/a"}}},
		"key":      {Tags: map[string]string{"a b": ""}},
		"value":    {Tags: map[string]string{"a": "\x1b[2J"}},
		"long":     {Tags: map[string]string{"a": strings.Repeat("x", maxTagValue+1)}},
	} {
		s.Image = "a"
		if err := s.Validate(); CodeOf(err) != CodeInvalid || !strings.HasPrefix(err.Error(), "secret") && !strings.HasPrefix(err.Error(), "tag") && !strings.Contains(err.Error(), "invalid: secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A line of a list says how a long command begins, and fits into a frame with the
// most tags that there may be.
func TestListLineFitsIntoAFrame(t *testing.T) {
	i := sampleInfo()
	i.Args = []string{"sh", strings.Repeat("é", maxText/2), "lost"}
	i.Tags = make(map[string]string)
	for n := range maxTags {
		i.Tags[fmt.Sprint("tag", n)] = strings.Repeat("x", maxTagBytes/maxTags-6)
	}
	p := infoToPB(&i)
	if n := proto.Size(p); n > MaxFrame/2 {
		t.Errorf("it takes %d bytes", n)
	}
	back, err := infoFromPB(p)
	if err != nil || len(back.Args) != 2 || !strings.HasPrefix(i.Args[1], back.Args[1]) || len(back.Args[1]) < maxInfoArgs/2 {
		t.Errorf("%d arguments: %v", len(back.Args), err)
	}
}
