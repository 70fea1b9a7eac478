package protocol

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/hearth-edge/hearth/protocol/pb"
)

// maxInline is the most that a service takes within another message.
const maxInline = 48 << 10

// An opening is a first frame, and the encoded service that follows it.
type opening struct {
	proto.Message
	service []byte
}

// detach takes the service out of a first frame where it cannot stay in, and
// returns it encoded, to follow the frame; else nil. In stays what is small and
// what every device of this protocol knows: one that does not know a field would
// run something else than was asked. In a frame of its own it does not see the
// service at all, and refuses.
func detach(in **pb.Service, length *uint32) ([]byte, error) {
	if knownByAll(*in) && proto.Size(*in) <= maxInline {
		return nil, nil
	}
	raw, err := marshal(nil, *in)
	if err != nil {
		return nil, err
	}
	*in, *length = nil, uint32(len(raw))
	return raw, nil
}

// The fields of Service that came later and may be overlooked: tags, and the
// terminal's size.
var mayBeMissed = map[protoreflect.FieldNumber]bool{22: true, 29: true, 30: true}

// lastOfFirst is the last field of Service that the first devices knew.
const lastOfFirst = 20

func knownByAll(p *pb.Service) bool {
	known := true
	p.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		known = known && (f.Number() <= lastOfFirst || mayBeMissed[f.Number()])
		return known
	})
	return known
}

// service returns the service of a first frame: the one in it, or the one of so
// many bytes that follows it. Who asks has proved that he may.
func (w *wire) service(in *pb.Service, length uint32) (*pb.Service, error) {
	switch {
	case length == 0:
		return in, nil
	case in != nil:
		return nil, Errorf(CodeInvalid, "service: there are two")
	case length > MaxService:
		return nil, Errorf(CodeInvalid, "service: it takes %d bytes, the most is %d", length, MaxService)
	}
	raw, err := w.receiveService(int(length))
	if err != nil {
		return nil, err
	}
	p := new(pb.Service)
	return p, unmarshal(raw, p)
}

// servicePart is how much of a service one item of a detail holds.
const servicePart = 32 << 10

// serviceItems are the items that tell a service: one, or several parts where it
// is too large for a frame.
func serviceItems(s *Service) []*pb.RequestsItem {
	p := serviceToPB(s)
	if proto.Size(p) <= maxInline {
		return []*pb.RequestsItem{{Item: &pb.RequestsItem_Service{Service: p}}}
	}
	raw, err := marshal(nil, p)
	if err != nil {
		return nil // it was valid when it was accepted
	}
	var items []*pb.RequestsItem
	for len(raw) > 0 {
		n := min(len(raw), servicePart)
		items = append(items, &pb.RequestsItem{Item: &pb.RequestsItem_ServicePart{ServicePart: &pb.ServicePart{Data: raw[:n]}}})
		raw = raw[n:]
	}
	return items
}

func secretsToPB(secrets []Secret) []*pb.Secret {
	var p []*pb.Secret
	for _, s := range secrets {
		p = append(p, &pb.Secret{Name: s.Name, Data: s.Data, Size: s.Size})
	}
	return p
}

func secretsFromPB(p []*pb.Secret) []Secret {
	var secrets []Secret
	for _, s := range p {
		secrets = append(secrets, Secret{Name: s.GetName(), Data: s.GetData(), Size: s.GetSize()})
	}
	return secrets
}
