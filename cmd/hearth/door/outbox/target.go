package outbox

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
)

// A Target is where messages go.
type Target struct {
	url *url.URL
	// secret is a broker's password, or the key that signs for a webhook.
	secret []byte
	tls    *tls.Config
}

// Parse reads mqtt://USER@HOST[:PORT], mqtts://…, http://… or https://…, and behind a
// # secret-file=FILE and ca-file=FILE, joined by &. It reads these files.
func Parse(text string) (*Target, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return nil, errors.New("not of the form mqtt://USER@BROKER or https://HOST/PATH") // the text may hold a password
	}
	if _, given := u.User.Password(); given {
		return nil, fmt.Errorf("%s: a password there is seen by all users; write #secret-file=FILE behind the address", u.Redacted())
	}
	t := &Target{url: u}
	port := ""
	switch u.Scheme {
	case "mqtt":
		port = "1883"
	case "mqtts":
		port, t.tls = "8883", &tls.Config{MinVersion: tls.VersionTLS12}
	case "http":
	case "https":
		t.tls = &tls.Config{MinVersion: tls.VersionTLS12}
	default:
		return nil, fmt.Errorf("%s: neither mqtt, mqtts, http nor https", u.Redacted())
	}
	if port != "" {
		if u.Port() != "" {
			port = u.Port()
		}
		u.Host = net.JoinHostPort(u.Hostname(), port)
	}
	options, err := url.ParseQuery(u.Fragment)
	if err != nil {
		return nil, fmt.Errorf("%s: what follows # is not of the form secret-file=FILE", u.Redacted())
	}
	u.Fragment, u.RawFragment = "", ""
	for key, files := range options {
		if err := t.option(key, files[0]); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func (t *Target) option(key, file string) error {
	if key != "secret-file" && key != "ca-file" || key == "ca-file" && t.tls == nil {
		return fmt.Errorf("#%s: not known for %s; there are secret-file, and with TLS ca-file", key, t.url.Scheme)
	}
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("#%s: %w", key, err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() || key == "secret-file" && info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("#%s: %s is not a file that only its owner can read; run: chmod 600 %s", key, file, file)
	}
	data, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err != nil {
		return fmt.Errorf("#%s: %w", key, err)
	}
	if key == "ca-file" {
		t.tls.RootCAs = x509.NewCertPool()
		if !t.tls.RootCAs.AppendCertsFromPEM(data) {
			return fmt.Errorf("#ca-file: %s has no certificate", file)
		}
		return nil
	}
	t.secret = []byte(strings.TrimRight(string(data), "\r\n"))
	if len(t.secret) == 0 || len(t.secret) > maxSecret {
		return fmt.Errorf("#secret-file: %s has %d bytes; it has 1 to %d", file, len(t.secret), maxSecret)
	}
	return nil
}

// String returns the address, without what is secret: the path of a webhook often
// is.
func (t *Target) String() string {
	u := url.URL{Scheme: t.url.Scheme, Host: t.url.Host}
	if t.broker() && t.url.User != nil {
		u.User = url.User(t.url.User.Username())
	}
	return u.String()
}

func (t *Target) broker() bool { return strings.HasPrefix(t.url.Scheme, "mqtt") }
