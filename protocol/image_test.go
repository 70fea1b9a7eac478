package protocol

import (
	"strings"
	"testing"
)

func TestImageID(t *testing.T) {
	good := "sha256:" + strings.Repeat("0123456789abcdef", 4)
	id, err := ParseImageID(good)
	if err != nil || id.Short() != "0123456789ab" {
		t.Errorf("%v, %v", id, err)
	}
	if again, err := imageIDFromBytes(id.bytes()); again != id || err != nil {
		t.Errorf("%v, %v", again, err)
	}
	for _, bad := range []string{"", "sha256:", good[:len(good)-1], good[7:], strings.ToUpper(good), good + "00", "md5:" + good[7:]} {
		if id, err := ParseImageID(bad); CodeOf(err) != CodeInvalid {
			t.Errorf("%q became %q", bad, id)
		}
	}
	if _, err := imageIDFromBytes(make([]byte, 31)); CodeOf(err) != CodeInvalid {
		t.Errorf("31 bytes: %v", err)
	}
	if id, err := imageIDFromBytes(nil); id != "" || err != nil {
		t.Errorf("none: %q, %v", id, err)
	}
}
