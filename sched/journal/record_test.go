package journal

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/hearth-edge/hearth/protocol"
)

// Fields were renamed since; their keys in records were not.
func TestRecordsKeepTheirKeys(t *testing.T) {
	const want = `{"Attempt":1,"Node":"n","Name":"tv","Begun":true,"Lost":2,"Stdout":3,"Stderr":4}`
	o := Offer{Attempt: 1, Node: "n", Name: "tv", Started: true, Lost: 2, Stdout: 3, Stderr: 4}
	if got, err := encodeOffer(o); err != nil || string(got) != want {
		t.Errorf("%s, %v", got, err)
	}
	if got, err := decodeOffer([]byte(want)); err != nil || got != o {
		t.Errorf("%+v, %v", got, err)
	}
	end := End{Decisions: []protocol.Decision{{Candidates: []protocol.Candidate{{Node: "n", Score: 12.5}}}}}
	text, err := json.Marshal(end)
	if err != nil || !strings.Contains(string(text), `"Self":false,"Rating":12.5,"Estimate":0`) {
		t.Errorf("%s, %v", text, err)
	}
}
