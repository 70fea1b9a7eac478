package protocol

import (
	"fmt"
	"io"
	"log/slog"
	"path"
	"slices"
	"strings"
)

// SecretsDir is where a container finds its secrets.
const SecretsDir = "/run/secrets"

// Bounds on secrets. A secret is a password, a key, a chain of certificates or a
// kubeconfig; what is larger is data, and belongs into a mount.
const (
	maxSecrets    = 64
	maxSecretName = 63
	// MaxSecret is the most bytes that one secret takes.
	MaxSecret = 64 << 10
)

// A Secret is a file in SecretsDir that only the service's user can read. Data
// goes from the asker to the orchestrator, which keeps it sealed until the end
// of the request, and to the node that won. Whoever else asks learns Name and Size.
type Secret struct {
	// Name of the file: 1 to 63 characters of a-z, A-Z, 0-9, '-', '_' and '.',
	// the first a letter, a digit or '_'.
	Name string
	// Data is what the file holds, Size bytes; or nil, where that is left out.
	Data Confidential
	Size uint32
}

// Confidential is content that no text shows: printed, logged or made JSON it
// tells its length at most.
type Confidential []byte

// Format implements fmt.Formatter for every verb.
func (c Confidential) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, fmt.Sprintf("(%d bytes)", len(c)))
}

// LogValue implements slog.LogValuer.
func (c Confidential) LogValue() slog.Value {
	return slog.StringValue(fmt.Sprintf("(%d bytes)", len(c)))
}

// MarshalJSON implements json.Marshaler.
func (c Confidential) MarshalJSON() ([]byte, error) { return []byte("null"), nil }

// WithoutSecrets returns the service as anyone may see it: its secrets have no
// Data.
func (s Service) WithoutSecrets() Service {
	s.Secrets = slices.Clone(s.Secrets)
	for i := range s.Secrets {
		s.Secrets[i].Data = nil
	}
	return s
}

// SecretsComplete reports whether no secret lacks its Data.
func (s *Service) SecretsComplete() bool {
	return !slices.ContainsFunc(s.Secrets, func(x Secret) bool { return len(x.Data) != int(x.Size) })
}

// validateWhole is Validate for a service that is to be run.
func (s *Service) validateWhole() error {
	if err := s.Validate(); err != nil {
		return err
	}
	return s.checkComplete()
}

// checkComplete returns an error where a secret lacks its Data.
func (s *Service) checkComplete() error {
	if !s.SecretsComplete() {
		return Errorf(CodeInvalid, "secret: its content is missing")
	}
	return nil
}

func (s *Service) validateSecrets() error {
	if len(s.Secrets) > maxSecrets {
		return Errorf(CodeInvalid, "secret: %d of them, the most is %d", len(s.Secrets), maxSecrets)
	}
	seen := make(map[string]bool)
	for i := range s.Secrets {
		x := &s.Secrets[i]
		if err := checkSecretName(x.Name); err != nil {
			return err
		}
		switch {
		case seen[x.Name]:
			return Errorf(CodeInvalid, "secret: there are two of the name %s", x.Name)
		case x.Size > MaxSecret:
			return Errorf(CodeInvalid, "secret: %s has %d bytes, the most is %d", x.Name, x.Size, MaxSecret)
		case len(x.Data) > 0 && len(x.Data) != int(x.Size):
			return Errorf(CodeInvalid, "secret: %s is cut: it has %d bytes of %d", x.Name, len(x.Data), x.Size)
		}
		seen[x.Name] = true
	}
	if len(s.Secrets) == 0 {
		return nil
	}
	for _, target := range s.targets() {
		if target == SecretsDir || strings.HasPrefix(target, SecretsDir+"/") || path.Clean(target) == "/" {
			return Errorf(CodeInvalid, "secret: %s is mounted over, and is where secrets are", shorten(target))
		}
	}
	return nil
}

// targets lists where in the container something is mounted.
func (s *Service) targets() []string {
	var all []string
	for _, m := range s.Mounts {
		all = append(all, m.Target)
	}
	for _, m := range s.Tmpfs {
		all = append(all, m.Target)
	}
	return all
}

func checkSecretName(name string) error {
	if name == "" || len(name) > maxSecretName {
		return Errorf(CodeInvalid, "secret: a name has 1 to %d characters, %q has %d", maxSecretName, shorten(name), len(name))
	}
	for i, c := range []byte(name) {
		if !alphanumeric(c) && c != '_' && (i == 0 || c != '-' && c != '.') {
			return Errorf(CodeInvalid, "secret: the name %q must consist of letters, digits, '-', '_' and '.', and begin with none of '-' and '.'", shorten(name))
		}
	}
	return nil
}
