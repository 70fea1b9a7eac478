package protocol

import (
	"encoding/json"
	"net/netip"

	"google.golang.org/protobuf/proto"

	"github.com/hearth-edge/hearth/protocol/pb"
)

// upToPB returns the first frame's verb and what follows the frame.
func upToPB(u *UpStack) (*pb.UpStack, []byte, error) {
	body, err := encodeRecord(u.Record)
	if err != nil {
		return nil, nil, err
	}
	p := &pb.UpStack{DocumentLength: uint32(len(body)), New: u.New, Detach: u.Detach, Timeout: durationToPB(u.Timeout)}
	for i := range u.Record.Stack.Files {
		data := u.Record.Stack.Files[i].Data
		p.FileLengths = append(p.FileLengths, uint32(len(data)))
		body = append(body, data...)
	}
	return p, body, nil
}

// receiveUp reads what follows the first frame.
func (w *wire) receiveUp(p *pb.UpStack) (UpStack, error) {
	total := 0
	for _, n := range p.GetFileLengths() {
		if total += int(n); n > MaxStackFiles || total > MaxStackFiles {
			return UpStack{}, Errorf(CodeInvalid, "files: they have %d bytes together, the most is %d", total, MaxStackFiles)
		}
	}
	switch n := p.GetDocumentLength(); {
	case n == 0 || n > maxRecord:
		return UpStack{}, Errorf(CodeInvalid, "stack: its document takes %d bytes, the most is %d", n, maxRecord)
	case len(p.GetFileLengths()) > maxFiles:
		return UpStack{}, Errorf(CodeInvalid, "files: %d of them, the most is %d", len(p.GetFileLengths()), maxFiles)
	}
	raw, err := w.receiveService(int(p.GetDocumentLength()))
	if err != nil {
		return UpStack{}, err
	}
	files, err := w.receiveService(total)
	if err != nil {
		return UpStack{}, err
	}
	return upFromPB(p, raw, files)
}

func upFromPB(p *pb.UpStack, raw, files []byte) (UpStack, error) {
	u := UpStack{New: p.GetNew(), Detach: p.GetDetach()}
	var err error
	if u.Timeout, err = durationFromPB("timeout", p.GetTimeout()); err != nil {
		return UpStack{}, err
	}
	if u.Record, err = decodeRecord(raw); err != nil {
		return UpStack{}, err
	}
	if len(u.Record.Stack.Files) != len(p.GetFileLengths()) {
		return UpStack{}, Errorf(CodeInvalid, "files: %d of them are named, and %d come", len(u.Record.Stack.Files), len(p.GetFileLengths()))
	}
	for i, n := range p.GetFileLengths() {
		if len(u.Record.Stack.Files[i].Data) > 0 {
			return UpStack{}, Errorf(CodeInvalid, "file: its content is not to be in the document")
		}
		if n > 0 {
			u.Record.Stack.Files[i].Data = files[:n:n]
			files = files[n:]
		}
	}
	u.Record.Stack.Normalize()
	return u, u.validate()
}

// validate checks what is asked for.
func (u *UpStack) validate() error {
	if u.Timeout < 0 || u.Timeout > MaxUpTimeout {
		return Errorf(CodeInvalid, "timeout: %v is out of bounds: 0 to %v", u.Timeout, MaxUpTimeout)
	}
	return u.Record.validate()
}

// validate checks a record; what an app sends has a stack alone.
func (r *StackRecord) validate() error {
	if err := r.Stack.Validate(); err != nil {
		return err
	}
	if r.By != "" {
		if _, err := ParsePeerID(string(r.By)); err != nil {
			return err
		}
	}
	if len(r.Signature) > maxSignature || len(r.Salt) > maxSalt {
		return Errorf(CodeInvalid, "record: its signature is too long")
	}
	if err := checkLine("record: name of a device", r.ByName, maxName); err != nil {
		return err
	}
	return checkText("record: note", r.Note, maxNote)
}

func listStacksFromPB(p *pb.ListStacks) (ListStacks, error) {
	l := ListStacks{Name: StackName(p.GetName()), All: p.GetAll(), Watch: p.GetWatch()}
	if l.Name == "" {
		return l, nil
	}
	_, err := stackRef(p.GetName())
	return l, err
}

func controlToPB(c *ControlStack) *pb.ControlStack {
	return &pb.ControlStack{Name: string(c.Name), Action: string(c.Action), Services: c.Services, Data: c.Data}
}

func controlFromPB(p *pb.ControlStack) (ControlStack, error) {
	c := ControlStack{Name: StackName(p.GetName()), Action: StackAction(p.GetAction()), Services: p.GetServices(), Data: p.GetData()}
	if _, err := stackRef(p.GetName()); err != nil {
		return ControlStack{}, err
	}
	switch c.Action {
	case StackStart, StackStop, StackRestart:
		if c.Data {
			return ControlStack{}, Errorf(CodeInvalid, "data: only down removes it")
		}
	case StackDown:
		if len(c.Services) > 0 {
			return ControlStack{}, Errorf(CodeInvalid, "services: down ends the whole stack; stop takes services")
		}
	default:
		return ControlStack{}, Errorf(CodeInvalid, "action: %q is not known here", shorten(p.GetAction()))
	}
	return c, checkServices(c.Services)
}

func checkServices(names []string) error {
	if err := checkCount("services", len(names), MaxStackServices); err != nil {
		return err
	}
	for _, n := range names {
		if err := checkPart("service", n); err != nil {
			return err
		}
	}
	return nil
}

func logsToPB(l *StackLogs) *pb.StackLogs {
	return &pb.StackLogs{Name: string(l.Name), Services: l.Services, Follow: l.Follow, Since: durationToPB(l.Since), Tail: l.Tail}
}

func logsFromPB(p *pb.StackLogs) (StackLogs, error) {
	since, err := durationFromPB("since", p.GetSince())
	if err != nil {
		return StackLogs{}, err
	}
	name, err := stackRef(p.GetName())
	if err != nil {
		return StackLogs{}, err
	}
	l := StackLogs{Name: name, Services: p.GetServices(), Follow: p.GetFollow(), Since: since, Tail: p.GetTail()}
	return l, checkServices(l.Services)
}

func rollbackToPB(r *RollbackStack) *pb.RollbackStack {
	return &pb.RollbackStack{Name: string(r.Name), Version: r.Version, Detach: r.Detach, Timeout: durationToPB(r.Timeout)}
}

func rollbackFromPB(p *pb.RollbackStack) (RollbackStack, error) {
	name, err := stackRef(p.GetName())
	if err != nil {
		return RollbackStack{}, err
	}
	timeout, err := durationFromPB("timeout", p.GetTimeout())
	if err == nil && timeout > MaxUpTimeout {
		err = Errorf(CodeInvalid, "timeout: %v is out of bounds: 0 to %v", timeout, MaxUpTimeout)
	}
	return RollbackStack{Name: name, Version: p.GetVersion(), Detach: p.GetDetach(), Timeout: timeout}, err
}

// Bounds on what is told of stacks.
const (
	// MaxStacksListed is the most stacks that a list names.
	MaxStacksListed = 10_000
	// maxDocument bounds a document in parts, documentPart each part.
	maxDocument  = 2 << 20
	documentPart = 48 << 10
)

// documentKind is what a document tells.
type documentKind int

const (
	documentNone documentKind = iota
	documentPlan
	documentStatus
	documentRecord
	documentLine
)

// A document is one that is whole.
type document struct {
	kind documentKind
	json []byte
}

// documentItems returns v in items that each fit into a frame.
func documentItems(kind documentKind, v any) ([]*pb.StacksItem, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var items []*pb.StacksItem
	for first := true; first || len(raw) > 0; first = false {
		n := min(len(raw), documentPart)
		part := &pb.DocumentPart{Json: raw[:n], More: n < len(raw)}
		items = append(items, itemOf(kind, part))
		raw = raw[n:]
	}
	return items, nil
}

func itemOf(kind documentKind, part *pb.DocumentPart) *pb.StacksItem {
	switch kind {
	case documentPlan:
		return &pb.StacksItem{Item: &pb.StacksItem_Plan{Plan: part}}
	case documentStatus:
		return &pb.StacksItem{Item: &pb.StacksItem_Status{Status: part}}
	case documentRecord:
		return &pb.StacksItem{Item: &pb.StacksItem_Record{Record: part}}
	}
	return &pb.StacksItem{Item: &pb.StacksItem_Line{Line: part}}
}

// documentParts puts documents together again.
type documentParts struct{ doc document }

// add takes the next item and returns the document when it is whole; of an item
// that it does not know nothing.
func (d *documentParts) add(m *pb.StacksItem) (*document, error) {
	var part *pb.DocumentPart
	var kind documentKind
	switch v := m.GetItem().(type) {
	case *pb.StacksItem_Plan:
		kind, part = documentPlan, v.Plan
	case *pb.StacksItem_Status:
		kind, part = documentStatus, v.Status
	case *pb.StacksItem_Record:
		kind, part = documentRecord, v.Record
	case *pb.StacksItem_Line:
		kind, part = documentLine, v.Line
	default:
		return nil, nil
	}
	if d.doc.kind != documentNone && d.doc.kind != kind {
		return nil, broken(Errorf(CodeInvalid, "document: another one comes within it"))
	}
	if len(d.doc.json)+len(part.GetJson()) > maxDocument {
		return nil, broken(Errorf(CodeInvalid, "document: it takes more than %d bytes", maxDocument))
	}
	d.doc.kind, d.doc.json = kind, append(d.doc.json, part.GetJson()...)
	if part.GetMore() {
		return nil, nil
	}
	whole := d.doc
	d.doc = document{}
	return &whole, nil
}

// clippedLine keeps a line within its bound.
func clippedLine(l LogLine) LogLine {
	if len(l.Text) > maxLogLine {
		l.Text, l.Cut = clip(l.Text, maxLogLine), true
	}
	return l
}

func publishedToPB(stacks []PublishedStack, unnamed uint32) *pb.PublishedStacks {
	if len(stacks) == 0 && unnamed == 0 {
		return nil
	}
	p := &pb.PublishedStacks{Unnamed: unnamed}
	for i := range stacks {
		s := &stacks[i]
		one := &pb.PublishedStack{Name: string(s.Name), Version: s.Version, Stopped: s.Stopped, Down: s.Down}
		for _, port := range s.Ports {
			one.Ports = append(one.Ports, &pb.PublishedPort{Port: uint32(port.Port), Udp: port.UDP, HostIp: port.HostIP})
		}
		p.Stacks = append(p.Stacks, one)
	}
	return p
}

func publishedFromPB(p *pb.PublishedStacks) (stacks []PublishedStack, unnamed uint32, err error) {
	for _, one := range p.GetStacks() {
		s := PublishedStack{Name: StackName(one.GetName()), Version: one.GetVersion(), Stopped: one.GetStopped(), Down: one.GetDown()}
		for _, port := range one.GetPorts() {
			if port.GetPort() > 65535 {
				return nil, 0, Errorf(CodeInvalid, "stacks: the port %d is out of range", port.GetPort())
			}
			s.Ports = append(s.Ports, PublishedPort{Port: uint16(port.GetPort()), UDP: port.GetUdp(), HostIP: port.GetHostIp()})
		}
		stacks = append(stacks, s)
	}
	return stacks, min(p.GetUnnamed(), MaxStacks), nil
}

// Bounds on what a status tells of stacks.
const (
	// MaxPublishedStacks is how many it names, MaxPublishedBytes what they take.
	MaxPublishedStacks = 32
	MaxPublishedBytes  = 2 << 10
)

// Publish returns as many of stacks as a status can tell, and how many it cannot.
func Publish(stacks []PublishedStack) (told []PublishedStack, unnamed uint32) {
	n := min(len(stacks), MaxPublishedStacks)
	for n > 0 && publishedSize(stacks[:n]) > MaxPublishedBytes {
		n--
	}
	return stacks[:n], uint32(min(len(stacks)-n, MaxStacks))
}

func publishedSize(stacks []PublishedStack) int { return proto.Size(publishedToPB(stacks, 0)) }

// validatePublished checks what another device told.
func validatePublished(stacks []PublishedStack) error {
	if len(stacks) > MaxPublishedStacks || publishedSize(stacks) > MaxPublishedBytes+16 {
		return Errorf(CodeInvalid, "stacks: more than a status tells: %d of them", len(stacks))
	}
	for i := range stacks {
		if _, err := ParseStackName(string(stacks[i].Name)); err != nil {
			return err
		}
		for _, p := range stacks[i].Ports {
			if _, err := netip.ParseAddr(p.HostIP); err != nil && p.HostIP != "" || p.Port == 0 {
				return Errorf(CodeInvalid, "stacks: %s publishes no port", stacks[i].Name)
			}
		}
	}
	return nil
}
