package mdns

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"net/netip"
	"strings"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/miekg/dns"
	ma "github.com/multiformats/go-multiaddr"
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
	// maxRecords and maxAnnounced are what is looked at in one packet.
	maxRecords, maxAnnounced = 256, 16
)

// An advert is an announcement of addresses under a name that is new each time.
type advert struct {
	instance string
	addrs    []ma.Multiaddr
	records  []dns.RR
}

func newAdvert(id peer.ID, fingerprint string, addrs []ma.Multiaddr) *advert {
	a := &advert{instance: strings.ToLower(rand.Text()), addrs: addrs}
	name, host := a.instance+"."+service, a.instance+".local."
	text := []string{version, meshPrefix + fingerprint}
	hosts := make(map[bool]dns.RR, 2) // one of each family, by whether it is IPv4
	for _, addr := range addrs {
		text = append(text, fmt.Sprintf("%s%s/p2p/%s", dnsaddrPrefix, addr, id))
		ip, ok := tcpHost(addr)
		switch {
		case !ok || hosts[ip.Is4()] != nil:
		case ip.Is4():
			hosts[true] = &dns.A{Hdr: header(host, dns.TypeA, flush), A: ip.AsSlice()}
		default:
			hosts[false] = &dns.AAAA{Hdr: header(host, dns.TypeAAAA, flush), AAAA: ip.AsSlice()}
		}
	}
	a.records = []dns.RR{
		&dns.PTR{Hdr: header(service, dns.TypePTR, 0), Ptr: name},
		&dns.SRV{Hdr: header(name, dns.TypeSRV, flush), Port: port, Target: host},
		&dns.TXT{Hdr: header(name, dns.TypeTXT, flush), Txt: text},
	}
	for _, rr := range hosts {
		a.records = append(a.records, rr)
	}
	return a
}

func header(name string, kind, bits uint16) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: kind, Class: dns.ClassINET | bits, Ttl: ttl}
}

// packet is the announcement as it is sent, or with a time to live of zero the
// goodbye.
func (a *advert) packet(ttl uint32) ([]byte, error) {
	m := new(dns.Msg)
	m.Response, m.Authoritative, m.Compress = true, true, true
	for _, rr := range a.records {
		rr = dns.Copy(rr)
		rr.Header().Ttl = ttl
		m.Answer = append(m.Answer, rr)
	}
	return m.Pack()
}

// listing answers the question for every service.
func listing() ([]byte, error) {
	m := new(dns.Msg)
	m.Response, m.Authoritative = true, true
	m.Answer = []dns.RR{&dns.PTR{Hdr: header(browsing, dns.TypePTR, 0), Ptr: service}}
	return m.Pack()
}

// question asks for the service.
func question() ([]byte, error) {
	m := new(dns.Msg).SetQuestion(service, dns.TypePTR)
	m.Id, m.RecursionDesired = 0, false
	return m.Pack()
}

// A heard is a packet that has to do with the service.
type heard struct {
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
// nothing about the service.
func parsePacket(packet []byte) (h heard, ok bool) {
	var m dns.Msg
	if len(packet) > maxPacket || m.Unpack(packet) != nil || len(m.Answer)+len(m.Extra)+len(m.Question) > maxRecords {
		return heard{}, false
	}
	if !m.Response {
		for _, q := range m.Question {
			name := strings.ToLower(q.Name)
			h.asked = h.asked || name == service || strings.HasSuffix(name, "."+service)
			h.listing = h.listing || name == browsing
		}
		return h, h.asked || h.listing
	}
	for _, rr := range append(m.Answer, m.Extra...) {
		txt, is := rr.(*dns.TXT)
		if !is || txt.Hdr.Ttl == 0 || len(h.announced) == maxAnnounced {
			continue
		}
		if instance, of := strings.CutSuffix(txt.Hdr.Name, "."+service); of {
			h.announced = append(h.announced, announcement{instance, txt.Txt})
		}
	}
	return h, len(h.announced) > 0
}
