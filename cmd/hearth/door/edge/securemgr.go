package edge

import (
	"encoding/hex"
	"net/http"
)

// secureAnswer is what a request about the list of allowed images comes to.
type secureAnswer struct {
	Message       string
	SecureCmpName string
	Reason        string `json:",omitempty"`
}

// verifier is the part of that project that keeps the list.
const verifier = "verifier"

// securemgr answers requests about which images may be run. That is for each node's
// owner to say, in a file of his: no message changes it.
func (h *handler) securemgr(_ *http.Request, f fields) any {
	answer := secureAnswer{Message: msgNotAllowed, SecureCmpName: verifier}
	command, _ := f.text("CmdType")
	switch command {
	case "printAllHashCWL": // into the log, which says here where the list is
		answer.Message = msgNone
	case "addHashCWL", "delHashCWL":
		if !hashes(f["Desc"]) {
			answer.Message, answer.Reason = msgInvalid, "Desc: a list of ContainerHash with 64 hexadecimal digits each"
			return answer
		}
		fallthrough
	case "delAllHashCWL":
		answer.Reason = "which images may be run is said by each node's owner: images and require_digest in policy.toml; see 'hearth policy example'"
	}
	h.Log.Info("which images may be run is said by images and require_digest in each node's policy.toml", "asked", known(command))
	return answer
}

// known is a command as the log may have it.
func known(command string) string {
	switch command {
	case "addHashCWL", "delHashCWL", "delAllHashCWL", "printAllHashCWL":
		return command
	}
	return "an unknown command"
}

// hashes reports whether v is a list of descriptions with a SHA-256 each.
func hashes(v any) bool {
	list, ok := v.([]any)
	for _, d := range list {
		m, _ := d.(map[string]any)
		text, _ := m["ContainerHash"].(string)
		if raw, err := hex.DecodeString(text); err != nil || len(raw) != 32 {
			return false
		}
	}
	return ok
}
