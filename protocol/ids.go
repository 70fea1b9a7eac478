package protocol

import (
	"crypto/rand"
	"hash/fnv"
	"strings"

	"github.com/distribution/reference"
)

// MaxScoreImages is the most images that a score names.
const MaxScoreImages = 256

// Bounds on identifiers, in bytes.
const (
	maxRequestID = 64
	maxNodeID    = 128
)

// NewRequestID returns a request ID that nobody else has: 20 lower-case letters
// and digits, 100 random bits.
func NewRequestID() RequestID {
	return RequestID(strings.ToLower(rand.Text()[:20]))
}

// ParseRequestID checks that s is a request ID; the error is an *Error with
// CodeInvalid.
func ParseRequestID(s string) (RequestID, error) {
	if s == "" || len(s) > maxRequestID {
		return "", Errorf(CodeInvalid, "a request ID has 1 to %d characters, this one has %d", maxRequestID, len(s))
	}
	for i, c := range []byte(s) {
		if !alphanumeric(c) && (i == 0 || !strings.ContainsRune("-_.", rune(c))) {
			return "", Errorf(CodeInvalid, "request ID %q: it consists of letters, digits, '-', '_' and '.', and starts with a letter or a digit", s)
		}
	}
	return RequestID(s), nil
}

// ParseNodeID checks the form of s, the text of a libp2p peer ID, without
// decoding it; the error is an *Error with CodeInvalid.
func ParseNodeID(s string) (NodeID, error) {
	if s == "" || len(s) > maxNodeID {
		return "", Errorf(CodeInvalid, "a node ID has 1 to %d characters, this one has %d", maxNodeID, len(s))
	}
	for _, c := range []byte(s) {
		if !alphanumeric(c) {
			return "", Errorf(CodeInvalid, "node ID %q: it consists of letters and digits", s)
		}
	}
	return NodeID(s), nil
}

func alphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// HashImage returns the 32-bit FNV-1a hash of an image's reference in its full
// form, so that "busybox", "busybox:latest" and
// "docker.io/library/busybox:latest" are one. What is no reference, as a bare
// image ID, is hashed as it stands.
func HashImage(ref string) uint32 {
	if named, err := reference.ParseDockerRef(ref); err == nil {
		ref = named.String()
	}
	h := fnv.New32a()
	h.Write([]byte(ref))
	return h.Sum32()
}
