package protocol

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"hash/fnv"
	"math"
	"strings"
	"unicode"

	"github.com/distribution/reference"
)

// MaxStatusImages is the most images that a status names.
const MaxStatusImages = 256

// Bounds on identifiers, in bytes.
const (
	maxRequestID = 64
	maxPeerID    = 128
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

// ParseRequestRef splits what verbs name a request by: an ID or the beginning of
// one, or ID@DEVICE for that of one device, by its name or its ID. device is empty
// where none is named. The error is an *Error with CodeInvalid.
func ParseRequestRef(s string) (id RequestID, device string, err error) {
	s, device, named := strings.Cut(s, "@")
	if id, err = ParseRequestID(s); err != nil {
		return "", "", err
	}
	if named && (device == "" || len(device) > maxPeerID || strings.ContainsFunc(device, unicode.IsControl)) {
		return "", "", Errorf(CodeInvalid, "the device of request %s@%q: write ID@DEVICE, with a name that 'hearth nodes' shows", id, device)
	}
	return id, device, nil
}

// requestRef checks a reference and leaves it whole.
func requestRef(s string) (RequestID, error) {
	_, _, err := ParseRequestRef(s)
	return RequestID(s), err
}

// ParsePeerID checks the form of s, the text of a libp2p peer ID, without
// decoding it; the error is an *Error with CodeInvalid.
func ParsePeerID(s string) (PeerID, error) {
	if s == "" || len(s) > maxPeerID {
		return "", Errorf(CodeInvalid, "a node ID has 1 to %d characters, this one has %d", maxPeerID, len(s))
	}
	for _, c := range []byte(s) {
		if !alphanumeric(c) {
			return "", Errorf(CodeInvalid, "node ID %q: it consists of letters and digits", s)
		}
	}
	return PeerID(s), nil
}

// imageIDPrefix is how an ImageID begins.
const imageIDPrefix = "sha256:"

// ParseImageID checks that s is an image's ID; the error is an *Error with
// CodeInvalid.
func ParseImageID(s string) (ImageID, error) {
	digits, ok := strings.CutPrefix(s, imageIDPrefix)
	if sum, err := hex.DecodeString(digits); !ok || err != nil || len(sum) != sha256.Size || strings.ToLower(s) != s {
		return "", Errorf(CodeInvalid, "image ID: %q is not sha256: and %d hexadecimal digits", shorten(s), 2*sha256.Size)
	}
	return ImageID(s), nil
}

// Short returns as much of the ID as people compare.
func (id ImageID) Short() string {
	digits := strings.TrimPrefix(string(id), imageIDPrefix)
	return digits[:min(len(digits), 12)]
}

// bytes returns the SHA-256, nothing for no ID.
func (id ImageID) bytes() []byte {
	sum, err := hex.DecodeString(strings.TrimPrefix(string(id), imageIDPrefix))
	if err != nil || len(sum) == 0 {
		return nil
	}
	return sum
}

func imageIDFromBytes(sum []byte) (ImageID, error) {
	switch len(sum) {
	case 0:
		return "", nil
	case sha256.Size:
		return ImageID(imageIDPrefix + hex.EncodeToString(sum)), nil
	}
	return "", Errorf(CodeInvalid, "image ID: %d bytes, not %d", len(sum), sha256.Size)
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

// Size codes tell a size to about 4 % in a byte: 0 is unknown, 1 is 64 KiB and
// less, and 8 more are twice as much.
const (
	smallestSize = 64 << 10
	sizeSteps    = 8
)

// SizeCode returns the size code of b, 0 for 0.
func SizeCode(b Bytes) byte {
	if b == 0 {
		return 0
	}
	steps := math.Round(sizeSteps * math.Log2(float64(b)/smallestSize))
	return byte(min(max(steps, 0)+1, math.MaxUint8))
}

// CodedSize returns the size that a size code stands for.
func CodedSize(code byte) Bytes {
	if code == 0 {
		return 0
	}
	return Bytes(smallestSize * math.Exp2(float64(code-1)/sizeSteps))
}
