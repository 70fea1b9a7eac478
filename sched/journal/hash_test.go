package journal

import (
	"encoding/hex"
	"fmt"
	"math"
	"reflect"
	"testing"

	"github.com/hearth-edge/hearth/protocol"
)

func TestServiceHashIsOfWhatIsAskedFor(t *testing.T) {
	base := ServiceHash(protocol.Service{Image: "x"})
	same := []protocol.Service{
		{Image: "x", Args: []string{}, Env: []string{}},
		{Image: "x", CPUs: protocol.Cores(math.Copysign(0, -1))},
		{Image: "x", Constraints: protocol.Constraints{Labels: map[string]string{}}},
	}
	for _, s := range same {
		if ServiceHash(s) != base {
			t.Errorf("%+v hashes differently", s)
		}
	}
	seen := map[[32]byte]string{base: "base"}
	differ := []protocol.Service{
		{Image: "y"},
		{Image: "x", Args: []string{"ab"}}, {Image: "x", Args: []string{"a", "b"}}, {Image: "x", Args: []string{""}},
		{Image: "x", Env: []string{"ab"}},
		{Image: "x", Constraints: protocol.Constraints{Labels: map[string]string{"a": "b", "c": "d"}}},
		{Image: "x", Constraints: protocol.Constraints{Labels: map[string]string{"a": "d", "c": "b"}}},
		{Image: "x", Constraints: protocol.Constraints{Labels: map[string]string{"a": ""}}},
	}
	for _, s := range differ {
		h := ServiceHash(s)
		if other, ok := seen[h]; ok {
			t.Errorf("%+v hashes like %s", s, other)
		}
		seen[h] = fmt.Sprintf("%+v", s)
	}
}

// TestServiceHashSeesEveryField: also those added later.
func TestServiceHashSeesEveryField(t *testing.T) {
	var s protocol.Service
	seen := map[[32]byte]bool{ServiceHash(s): true}
	var fill func(v reflect.Value, path string)
	fill = func(v reflect.Value, path string) {
		switch v.Kind() {
		case reflect.Struct:
			for i := range v.NumField() {
				fill(v.Field(i), path+"."+v.Type().Field(i).Name)
			}
			return
		case reflect.Pointer:
			v.Set(reflect.New(v.Type().Elem()))
		case reflect.String:
			v.SetString("s")
		case reflect.Bool:
			v.SetBool(true)
		case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
			v.SetInt(1)
		case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
			v.SetUint(1)
		case reflect.Float64:
			v.SetFloat(1)
		case reflect.Slice:
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		case reflect.Map:
			v.Set(reflect.ValueOf(map[string]string{"k": "v"}).Convert(v.Type()))
		}
		h := ServiceHash(s)
		if path == "Service.TTYRows" || path == "Service.TTYColumns" {
			if !seen[h] {
				t.Errorf("%s counts", path)
			}
			return
		}
		if seen[h] {
			t.Errorf("%s does not count", path)
		}
		seen[h] = true
	}
	fill(reflect.ValueOf(&s).Elem(), "Service")
}

// TestStoredFormIsStable: what is on people's disks must be readable by later
// versions, and hash to the same.
func TestStoredFormIsStable(t *testing.T) {
	const hash = "93362310b4111accdb51c3a59983afdcf69d99dcaf99a25e378e257a9dfb1c8f"
	const text = `{"ID":"golden","Service":{"Image":"registry.example/detector:2","Args":["--fast","golden"],"Entrypoint":"","Env":["A=1","B=\u003c\u0026\u003e"],"WorkDir":"","User":"","CPUs":0.5,"Memory":67108864,"Stdin":false,"Timeout":60000000000,"Constraints":{"Node":"","Labels":{"gpu":"none","room":"attic"},"NotHere":false}},"Detached":true,"KeepRunning":false,"At":"2031-02-03T04:05:06.000000007Z"}`
	r := request("golden")
	if h := ServiceHash(r.Service); hex.EncodeToString(h[:]) != hash {
		t.Errorf("hash %x", h)
	}
	raw, err := encodeRequest(&Record{Request: r, Hash: ServiceHash(r.Service)})
	if err != nil {
		t.Fatal(err)
	}
	back, err := decodeRequest(append(raw[:33:33], text...))
	if err != nil || !reflect.DeepEqual(back.Request, r) {
		t.Errorf("%v, %+v", err, back.Request)
	}
}
