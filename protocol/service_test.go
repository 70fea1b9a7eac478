package protocol

import (
	"reflect"
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
