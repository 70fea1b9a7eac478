package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// fill sets every field of v to a value made of its path: a field keeps its value
// when others are added.
func fill(v reflect.Value, path string) {
	h := fnv.New32a()
	h.Write([]byte(path))
	n := int64(h.Sum32()%99 + 1)
	switch v.Interface().(type) {
	case time.Duration:
		v.SetInt(n * int64(time.Millisecond))
		return
	case time.Time:
		v.Set(reflect.ValueOf(time.Unix(n, 0).UTC()))
		return
	case protocol.State, protocol.Code, protocol.Role, protocol.Level:
		v.Set(reflect.ValueOf(1).Convert(v.Type()))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), path+"."+v.Type().Field(i).Name)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), path)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), path)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("key"), reflect.ValueOf(path))
	case reflect.String:
		v.SetString(path)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Float64:
		v.SetFloat(float64(n) + 0.5)
	default:
		v.Set(reflect.ValueOf(n).Convert(v.Type()))
	}
}

func filled[T any]() (out T) {
	fill(reflect.ValueOf(&out).Elem(), "")
	return out
}

// toAny returns v as encoding/json decodes it.
func toAny(t *testing.T, v any) (out any) {
	t.Helper()
	text, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(text, &out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// missing lists what got lacks of want, or has otherwise. More keys are no fault.
func missing(path string, want, got any) (out []string) {
	switch want := want.(type) {
	case map[string]any:
		has, _ := got.(map[string]any)
		for k, v := range want {
			out = append(out, missing(path+"."+k, v, has[k])...)
		}
	case []any:
		has, _ := got.([]any)
		if len(has) != len(want) {
			return []string{fmt.Sprintf("%s: %v, want %v", path, got, want)}
		}
		for i := range want {
			out = append(out, missing(fmt.Sprintf("%s[%d]", path, i), want[i], has[i])...)
		}
	default:
		if !reflect.DeepEqual(want, got) {
			out = append(out, fmt.Sprintf("%s: %v, want %v", path, got, want))
		}
	}
	return out
}

// filled.json was written before this package was one: each key of it stays, with
// its type and unit.
func TestFilledObjectsKeepKeysTypesAndUnits(t *testing.T) {
	detail, device := filled[protocol.RequestDetail](), filled[protocol.Device]()
	info, check := filled[protocol.DeviceInfo](), filled[protocol.Check]()
	got := toAny(t, map[string]any{
		"detail": NewRequestDetail(&detail), "device": NewDevice(&device), "info": NewDeviceInfo(&info, "state", &check),
	})
	text, err := os.ReadFile("testdata/filled.json")
	if err != nil {
		t.Fatal(err)
	}
	var want any
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	for _, m := range missing("", want, got) {
		t.Error(m)
	}
}

// object returns what an object of the verb is decoded into.
func object(verb string, text []byte) any {
	switch {
	case verb == "nodes":
		return new([]Device)
	case verb == "ps":
		return new([]Request)
	case verb == "inspect":
		return new(RequestDetail)
	case verb == "explain":
		return new([]Decision)
	case verb == "doctor":
		return new([]Check)
	case verb == "status":
		return new(DeviceInfo)
	case bytes.Contains(text, []byte(`"stream":`)):
		return new(Output)
	case bytes.Contains(text, []byte(`"id":`)):
		return new(Request)
	}
	return new(Event)
}

// What a mesh of two printed with --json can be decoded, and is encoded the same.
func TestRecordedObjectsAreEncodedTheSame(t *testing.T) {
	files, err := filepath.Glob("testdata/recorded/*json")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		verb, _, _ := strings.Cut(strings.TrimSuffix(filepath.Base(file), filepath.Ext(file)), "-")
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for d := json.NewDecoder(bytes.NewReader(data)); ; {
			var text json.RawMessage
			if err := d.Decode(&text); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(file, err)
			}
			v := object(verb, text)
			strict := json.NewDecoder(bytes.NewReader(text))
			strict.DisallowUnknownFields()
			if err := strict.Decode(v); err != nil {
				t.Errorf("%s: %v", file, err)
				continue
			}
			want, got := toAny(t, text), toAny(t, v)
			if !reflect.DeepEqual(want, got) {
				t.Errorf("%s: %v", file, append(missing("", want, got), missing("", got, want)...))
			}
		}
	}
}

// eachField calls visit with each field below v that is no struct.
func eachField(v reflect.Value, path string, visit func(path string, v reflect.Value)) {
	if v.Kind() == reflect.Struct && v.Type() != reflect.TypeFor[time.Time]() {
		for i := range v.NumField() {
			eachField(v.Field(i), path+"."+v.Type().Field(i).Name, visit)
		}
		return
	}
	visit(path, v)
	if v.Kind() == reflect.Slice && v.Len() > 0 {
		eachField(v.Index(0), path+"[]", visit)
	}
}

func TestEveryFieldIsInItsObject(t *testing.T) {
	detail, device := filled[protocol.RequestDetail](), filled[protocol.Device]()
	info, check := filled[protocol.DeviceInfo](), filled[protocol.Check]()
	for name, c := range map[string]struct {
		of     reflect.Value
		object func() any
		// left are those that mean nothing to others, or are told elsewhere: stacks
		// by 'hearth stack'. With a list go its elements.
		left string
	}{
		"request": {reflect.ValueOf(&detail).Elem(), func() any { return NewRequestDetail(&detail) },
			".RequestInfo.Last.Request .RequestInfo.Last.At .RequestInfo.Last.Progress .Events[].Progress .Service.Secrets[].Data"},
		"device": {reflect.ValueOf(&device).Elem(), func() any { return NewDevice(&device) },
			".Status.Sequence .Status.Interval .Status.Images .Status.ImageSizes .Status.Stacks .Status.UnnamedStacks"},
		"info":  {reflect.ValueOf(&info).Elem(), func() any { return NewDeviceInfo(&info, "", nil) }, ""},
		"check": {reflect.ValueOf(&check).Elem(), func() any { return NewChecks([]protocol.Check{check}) }, ""},
	} {
		whole := toAny(t, c.object())
		left := strings.Fields(c.left)
		eachField(c.of, "", func(path string, v reflect.Value) {
			was := reflect.ValueOf(v.Interface())
			v.SetZero()
			told := !reflect.DeepEqual(whole, toAny(t, c.object()))
			v.Set(was)
			if told == slices.ContainsFunc(left, func(l string) bool { return path == l || strings.HasPrefix(path, l+"[]") }) {
				t.Errorf("%s: the field %s is in the JSON: %v", name, path, told)
			}
		})
	}
}
