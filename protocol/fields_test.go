package protocol

import (
	"reflect"
	"testing"
	"time"
)

// setFields adds the fields below v that are not zero, as Type.Field, to set; all
// gets every field.
func setFields(v reflect.Value, set, all map[string]bool) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			setFields(v.Elem(), set, all)
		}
	case reflect.Slice:
		for i := range v.Len() {
			setFields(v.Index(i), set, all)
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return
		}
		for i := range v.NumField() {
			name := v.Type().Name() + "." + v.Type().Field(i).Name
			all[name] = true
			if !v.Field(i).IsZero() {
				set[name] = true
			}
			setFields(v.Field(i), set, all)
		}
	}
}

// Every field of what travels is set in a sample of TestGolden, which encodes and
// decodes it. So a new field is in the .proto, and in the codec both ways.
func TestSamplesSetEveryField(t *testing.T) {
	set, all := make(map[string]bool), make(map[string]bool)
	for _, c := range codecs() {
		setFields(reflect.ValueOf(c.sample), set, all)
	}
	detail := sampleDetail()
	setFields(reflect.ValueOf(detail), set, all)
	if !all["Service.Image"] || !all["Event.State"] || !all["Status.Score"] || !all["RequestInfo.ID"] {
		t.Fatal("there are no samples")
	}
	for name := range all {
		if !set[name] && name != "Offer.Orchestrator" { // which the receiver sets
			t.Errorf("no sample sets %s: add one to codecs in wire_test.go", name)
		}
	}
}
