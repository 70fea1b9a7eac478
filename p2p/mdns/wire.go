package mdns

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"golang.org/x/net/dns/dnsmessage"
)

const (
	service = "_hearth._udp.local."
	// browsing is the question for every service there is (RFC 6763, section 9).
	browsing = "_services._dns-sd._udp.local."
	// label is in every packet that has to do with the service, uncompressed.
	label = "\x07_hearth\x04_udp"
	// port stands in the SRV record because there must be one; the addresses in
	// the TXT record are what counts.
	port = 4100
	// ttl in seconds bounds how long others believe an announcement whose
	// device vanished without a goodbye.
	ttl = 120
	// flush is the bit of a record's class that says that there is but one.
	flush = 1 << 15
	// maxPacket is the longest packet that is read (RFC 6762, section 17).
	maxPacket = 9000
	// maxRecords of each section and maxAnnounced are what is looked at in one packet.
	maxRecords, maxAnnounced = 256, 16
)

// An advert is an announcement of addresses under a name that is new each time.
type advert struct {
	instance string
	addrs    []ma.Multiaddr
	records  []dnsmessage.Resource
}

func newAdvert(id peer.ID, fingerprint string, addrs []ma.Multiaddr) *advert {
	a := &advert{instance: strings.ToLower(rand.Text()), addrs: addrs}
	name, host := a.instance+"."+service, a.instance+".local."
	text := []string{version, meshPrefix + fingerprint}
	var hosts []dnsmessage.Resource // one of each family
	var has4, has6 bool
	for _, addr := range addrs {
		text = append(text, fmt.Sprintf("%s%s/p2p/%s", dnsaddrPrefix, addr, id))
		ip, ok := tcpHost(addr)
		switch {
		case ok && ip.Is4() && !has4:
			has4 = true
			hosts = append(hosts, record(host, flush, &dnsmessage.AResource{A: ip.As4()}))
		case ok && ip.Is6() && !has6:
			has6 = true
			hosts = append(hosts, record(host, flush, &dnsmessage.AAAAResource{AAAA: ip.As16()}))
		}
	}
	a.records = append([]dnsmessage.Resource{
		record(service, 0, &dnsmessage.PTRResource{PTR: dnsmessage.MustNewName(name)}),
		record(name, flush, &dnsmessage.SRVResource{Port: port, Target: dnsmessage.MustNewName(host)}),
		record(name, flush, &dnsmessage.TXTResource{TXT: text}),
	}, hosts...)
	return a
}

// record names are this file's own and short, so that they are always valid.
func record(name string, bits uint16, body dnsmessage.ResourceBody) dnsmessage.Resource {
	return dnsmessage.Resource{
		Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(name), Class: dnsmessage.ClassINET | dnsmessage.Class(bits), TTL: ttl},
		Body:   body,
	}
}

// packet is the announcement as it is sent, or with a time to live of zero the
// goodbye.
func (a *advert) packet(ttl uint32) ([]byte, error) {
	m := dnsmessage.Message{Header: dnsmessage.Header{Response: true, Authoritative: true}, Answers: slices.Clone(a.records)}
	for i := range m.Answers {
		m.Answers[i].Header.TTL = ttl
	}
	return m.Pack()
}

// browseAnswer answers the question for every service.
func browseAnswer() ([]byte, error) {
	m := dnsmessage.Message{
		Header:  dnsmessage.Header{Response: true, Authoritative: true},
		Answers: []dnsmessage.Resource{record(browsing, 0, &dnsmessage.PTRResource{PTR: dnsmessage.MustNewName(service)})},
	}
	return m.Pack()
}

// question asks for the service.
func question() ([]byte, error) {
	m := dnsmessage.Message{Questions: []dnsmessage.Question{
		{Name: dnsmessage.MustNewName(service), Type: dnsmessage.TypePTR, Class: dnsmessage.ClassINET},
	}}
	return m.Pack()
}

// A received is a packet that has to do with the service.
type received struct {
	from      netip.Addr // without zone
	index     int        // of the interface it came in by
	asked     bool       // somebody wants to hear announcements
	listing   bool       // somebody wants to hear of every service
	announced []announcement
}

// An announcement is the TXT record of an instance.
type announcement struct {
	instance string
	text     []string
}

// relevant reports whether a packet is worth decoding; most are not.
func relevant(packet []byte) bool {
	return bytes.Contains(packet, []byte(label)) || bytes.Contains(packet, []byte("\x09_services\x07_dns-sd"))
}

// parsePacket reads a packet. It is not ok where the packet is malformed or says
// nothing about the service. What is not about the service is passed over
// without a look at it: other programs' names may have dots in them, which
// dnsmessage refuses.
func parsePacket(packet []byte) (h received, ok bool) {
	var p dnsmessage.Parser
	if len(packet) > maxPacket {
		return received{}, false
	}
	header, err := p.Start(packet)
	if err != nil {
		return received{}, false
	}
	if header.Response {
		return h, h.answers(&p) && len(h.announced) > 0
	}
	return h, h.questions(&p) && (h.asked || h.listing)
}

// questions reads what a packet asks for; false where it is malformed.
func (h *received) questions(p *dnsmessage.Parser) bool {
	for range maxRecords {
		q, err := p.Question()
		switch {
		case errors.Is(err, dnsmessage.ErrSectionDone):
			return true
		case err != nil:
			if p.SkipQuestion() != nil {
				return false
			}
			continue
		}
		name := strings.ToLower(q.Name.String())
		h.asked = h.asked || name == service || strings.HasSuffix(name, "."+service)
		h.listing = h.listing || name == browsing
	}
	return false
}

// answers reads the announcements in the answers of a packet, and in what it adds
// to them; false where it is malformed.
func (h *received) answers(p *dnsmessage.Parser) bool {
	return p.SkipAllQuestions() == nil &&
		h.section(p, p.AnswerHeader, p.SkipAnswer) &&
		p.SkipAllAuthorities() == nil &&
		h.section(p, p.AdditionalHeader, p.SkipAdditional)
}

// section reads one section, whose parts of p it is handed.
func (h *received) section(p *dnsmessage.Parser, next func() (dnsmessage.ResourceHeader, error), skip func() error) bool {
	for range maxRecords {
		head, err := next()
		if errors.Is(err, dnsmessage.ErrSectionDone) {
			return true
		}
		instance, of := "", false
		if err == nil && head.Type == dnsmessage.TypeTXT && head.TTL > 0 && len(h.announced) < maxAnnounced {
			instance, of = strings.CutSuffix(head.Name.String(), "."+service)
		}
		if !of {
			if skip() != nil {
				return false
			}
			continue
		}
		txt, err := p.TXTResource()
		if err != nil {
			return false
		}
		h.announced = append(h.announced, announcement{instance, txt.TXT})
	}
	return false
}
