package protocol

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"
)

// Validate checks that every field is well-formed and within bounds, that names
// are unique, and that all that is named within the stack is there. The error is
// an *Error with CodeInvalid that names service and field. It does not check
// whether any node could run it.
func (s *Stack) Validate() error {
	if _, err := ParseStackName(string(s.Name)); err != nil {
		return err
	}
	if err := s.Constraints.validate(); err != nil {
		return err
	}
	parts, err := s.validateParts()
	if err != nil {
		return err
	}
	if n := len(s.Services); n == 0 || n > MaxStackServices {
		return Errorf(CodeInvalid, "services: %d of them, a stack has 1 to %d", n, MaxStackServices)
	}
	for i := range s.Services {
		if err := s.Services[i].validate(parts); err != nil {
			return inService(s.Services[i].Name, err)
		}
	}
	if err := s.validateTogether(); err != nil {
		return err
	}
	raw, err := json.Marshal(s.WithoutData())
	if err != nil {
		return Errorf(CodeInvalid, "stack: it cannot be encoded: %v", err)
	}
	if len(raw) > MaxStack {
		return Errorf(CodeInvalid, "stack: its document takes %d bytes, the most is %d", len(raw), MaxStack)
	}
	return nil
}

// inService names the service that an error is about.
func inService(name string, err error) error {
	if e, ok := errors.AsType[*Error](err); ok {
		return Errorf(e.Code, "service %s: %s", shorten(name), e.Message)
	}
	return err
}

// stackParts are the names of a stack's parts.
type stackParts struct{ services, networks, volumes, files map[string]bool }

// validateParts checks all that services refer to.
func (s *Stack) validateParts() (*stackParts, error) {
	parts := &stackParts{make(map[string]bool), map[string]bool{DefaultNetwork: true}, make(map[string]bool), make(map[string]bool)}
	if err := errors.Join(
		checkCount("networks", len(s.Networks), maxNetworks), checkCount("volumes", len(s.Volumes), maxVolumes),
		checkCount("files", len(s.Files), maxFiles), checkCount("uses", len(s.Uses), maxUses),
	); err != nil {
		return nil, firstOf(err)
	}
	for i := range s.Networks {
		if err := s.Networks[i].validate(); err != nil {
			return nil, err
		}
		if n := s.Networks[i].Name; n != DefaultNetwork || i > 0 && slices.ContainsFunc(s.Networks[:i], func(o StackNetwork) bool { return o.Name == n }) {
			if err := claim(parts.networks, "network", n); err != nil {
				return nil, err
			}
		}
	}
	for _, v := range s.Volumes {
		if err := errors.Join(checkPart("volume", v.Name), checkText("volume "+shorten(v.Name), v.Path, maxPath), claim(parts.volumes, "volume", v.Name)); err != nil {
			return nil, firstOf(err)
		}
	}
	if err := s.validateFiles(parts); err != nil {
		return nil, err
	}
	for _, u := range s.Uses {
		if err := checkUse(u); err != nil {
			return nil, err
		}
	}
	for i := range s.Services {
		name := s.Services[i].Name
		if err := checkPart("service", name); err != nil {
			return nil, err
		}
		if err := claim(parts.services, "service", name); err != nil {
			return nil, err
		}
	}
	return parts, nil
}

// DefaultNetwork is the network of services that name none.
const DefaultNetwork = "default"

func (n *StackNetwork) validate() error {
	if err := checkPart("network", n.Name); err != nil {
		return err
	}
	if n.Subnet == "" {
		return nil
	}
	p, err := netip.ParsePrefix(n.Subnet)
	switch {
	case err != nil:
		return Errorf(CodeInvalid, "network %s: the subnet %q is none: write it like 172.30.0.0/24", n.Name, shorten(n.Subnet))
	case p.Addr() != p.Masked().Addr():
		return Errorf(CodeInvalid, "network %s: the subnet %s has bits beyond its prefix: write %s", n.Name, p, p.Masked())
	case p.Addr().Is4() && p.Bits() > 29 || p.Bits() < 8:
		return Errorf(CodeInvalid, "network %s: the subnet %s has no room, or far too much", n.Name, p)
	case !p.Addr().IsPrivate():
		return Errorf(CodeInvalid, "network %s: the subnet %s is not of private addresses", n.Name, p)
	}
	return nil
}

func (s *Stack) validateFiles(parts *stackParts) error {
	for i := range s.Files {
		f := &s.Files[i]
		if f.Name == "" {
			return Errorf(CodeInvalid, "file: one has no name")
		}
		if err := checkLine("file", f.Name, maxPartFile); err != nil {
			return err
		}
		if err := claim(parts.files, "file", f.Name); err != nil {
			return err
		}
		switch {
		case f.Size > MaxStackFiles:
			return Errorf(CodeInvalid, "file %s: it has %s, all files of a stack together have %s at most", shorten(f.Name), f.Size, Bytes(MaxStackFiles))
		case len(f.Data) > 0 && len(f.Data) != int(f.Size):
			return Errorf(CodeInvalid, "file %s: it has %d bytes of %d", shorten(f.Name), len(f.Data), f.Size)
		case f.Folder && f.Secret:
			return Errorf(CodeInvalid, "file %s: a secret is no folder", shorten(f.Name))
		}
	}
	if n := s.declaredSize(); n > MaxStackFiles {
		return Errorf(CodeInvalid, "files: they have %s together, the most is %s: what is larger belongs into a volume", n, Bytes(MaxStackFiles))
	}
	return nil
}

func (s *Stack) declaredSize() (n Bytes) {
	for i := range s.Files {
		n += s.Files[i].Size
	}
	return n
}

// checkUse checks STACK/SERVICE.
func checkUse(u string) error {
	stack, service, ok := strings.Cut(u, "/")
	if !ok {
		return Errorf(CodeInvalid, "uses: %q is not of the form STACK/SERVICE", shorten(u))
	}
	if _, err := ParseStackName(stack); err != nil {
		return err
	}
	return checkPart("uses", service)
}

// validateTogether checks what services have to do with one another.
func (s *Stack) validateTogether() error {
	numbers, names, ports := make(map[uint8]string), make(map[string]string), make(map[StackPort]string)
	count := 0
	for i := range s.Services {
		svc := &s.Services[i]
		if other, taken := numbers[svc.Number]; taken && svc.Number > 0 {
			return Errorf(CodeInvalid, "service %s: its number %d is that of %s", svc.Name, svc.Number, other)
		}
		numbers[svc.Number] = svc.Name
		for _, name := range append([]string{svc.Name}, svc.Aliases...) {
			if other, taken := names[strings.ToLower(name)]; taken && other != svc.Name {
				return Errorf(CodeInvalid, "service %s: its name or alias %s is that of %s, too", svc.Name, name, other)
			}
			names[strings.ToLower(name)] = svc.Name
		}
		for _, p := range svc.Ports {
			key := StackPort{Published: p.Published, UDP: p.UDP, HostIP: p.HostIP}
			if other, taken := ports[key]; taken {
				return Errorf(CodeInvalid, "service %s: the port %s is published by %s already", svc.Name, p.where(), other)
			}
			ports[key] = svc.Name
		}
		if count += len(svc.Ports); count > maxStackPorts {
			return Errorf(CodeInvalid, "ports: more than %d are published", maxStackPorts)
		}
	}
	_, err := s.StartOrder()
	return err
}

// where names what the port occupies: "8080/udp on 127.0.0.1".
func (p *StackPort) where() string {
	text := fmt.Sprint(p.Published)
	if p.UDP {
		text += "/udp"
	}
	if p.HostIP != "" {
		text += " on " + p.HostIP
	}
	return text
}

// StartOrder returns the services' names so that each comes after those that it
// depends on, else in the document's order. The error names a cycle.
func (s *Stack) StartOrder() ([]string, error) {
	const seen, done = 1, 2
	state := make(map[string]int)
	byName := make(map[string]*StackService)
	for i := range s.Services {
		byName[s.Services[i].Name] = &s.Services[i]
	}
	var order, path []string
	var visit func(name string) error
	visit = func(name string) error {
		svc := byName[name]
		if svc == nil || state[name] == done {
			return nil
		}
		path = append(path, name)
		if state[name] == seen {
			return Errorf(CodeInvalid, "depends_on: there is a cycle: %s", strings.Join(path[slices.Index(path, name):], " → "))
		}
		state[name] = seen
		for _, need := range svc.needs() {
			if err := visit(need); err != nil {
				return err
			}
		}
		path = path[:len(path)-1]
		state[name] = done
		order = append(order, name)
		return nil
	}
	for i := range s.Services {
		if err := visit(s.Services[i].Name); err != nil {
			return nil, err
		}
	}
	return order, nil
}

// needs names the services that must start before svc.
func (svc *StackService) needs() []string {
	var names []string
	for _, d := range svc.DependsOn {
		names = append(names, d.Service)
	}
	if other, ok := strings.CutPrefix(svc.NetworkMode, networkOfService); ok {
		names = append(names, other)
	}
	return names
}

// claim takes a name, once.
func claim(taken map[string]bool, what, name string) error {
	if taken[name] {
		return Errorf(CodeInvalid, "%s %s: there are two of that name", what, shorten(name))
	}
	taken[name] = true
	return nil
}

func checkCount(what string, n, most int) error {
	if n > most {
		return Errorf(CodeInvalid, "%s: %d of them, the most is %d", what, n, most)
	}
	return nil
}

// checkPart checks the name of a service, a network or a volume.
func checkPart(what, name string) error {
	if name == "" || len(name) > maxPart {
		return Errorf(CodeInvalid, "%s: a name has 1 to %d characters, %q has %d", what, maxPart, shorten(name), len(name))
	}
	for i, c := range []byte(name) {
		if !alphanumeric(c) && (i == 0 || !strings.ContainsRune("-_.", rune(c))) {
			return Errorf(CodeInvalid, "%s: the name %q must consist of letters, digits, '-', '_' and '.', the first a letter or a digit", what, shorten(name))
		}
	}
	return nil
}

// checkLine checks text without control characters.
func checkLine(field, s string, limit int) error {
	if err := checkText(field, s, limit); err != nil {
		return err
	}
	if strings.ContainsFunc(s, unicode.IsControl) {
		return Errorf(CodeInvalid, "%s: %q has control characters", field, shorten(s))
	}
	return nil
}

// checkTime checks a duration of a document.
func checkTime(field string, m Milliseconds, most time.Duration) error {
	if m < 0 || m > Milliseconds(most.Milliseconds()) {
		return Errorf(CodeInvalid, "%s: %v is out of bounds: 0 to %v", field, m.Duration(), most)
	}
	return nil
}

// firstOf returns the first of joined errors: one is enough to tell.
func firstOf(err error) error {
	if many, ok := err.(interface{ Unwrap() []error }); ok && len(many.Unwrap()) > 0 {
		return many.Unwrap()[0]
	}
	return err
}
