package outbox

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// Brokers are those that clients of the edge API publish to and subscribe at. Its
// methods may be used concurrently, and block until the broker has answered.
type Brokers struct {
	port string
	tls  *tls.Config

	mu    sync.Mutex // guards what follows
	hosts map[string]*shared
	data  map[subscription]*string // the last message; nil where none came yet
}

// shared is a broker that several clients use; mu orders them.
type shared struct {
	mu     sync.Mutex
	broker *broker
	topics map[string]bool // what is subscribed at the connection there is
}

type subscription struct{ host, topic, app string }

// NewBrokers returns brokers that are asked at port 1883, or with TLS at 8883.
func NewBrokers(tls *tls.Config) *Brokers {
	port := "1883"
	if tls != nil {
		port = "8883"
	}
	return &Brokers{port: port, tls: tls, hosts: map[string]*shared{}, data: map[subscription]*string{}}
}

// Close ends all connections.
func (b *Brokers) Close() {
	b.mu.Lock()
	hosts := b.hosts
	b.hosts = map[string]*shared{}
	b.mu.Unlock()
	for _, s := range hosts {
		s.mu.Lock()
		s.broker.close()
		s.mu.Unlock()
	}
}

// host returns the broker, which may be HOST or HOST:PORT.
func (b *Brokers) host(host string) (*shared, string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.hosts[host]
	if s == nil {
		if len(b.hosts) >= maxBrokers {
			return nil, "", fmt.Errorf("there are %d brokers in use, which is the most", maxBrokers)
		}
		at := host
		if _, _, err := net.SplitHostPort(host); err != nil {
			at = net.JoinHostPort(strings.Trim(host, "[]"), b.port)
		}
		if u, err := url.Parse("mqtt://" + at); err != nil || u.Host != at || u.User != nil {
			return nil, "", errors.New("it is no host")
		}
		s = &shared{broker: newBroker(&Target{url: &url.URL{Scheme: "mqtt", Host: at}, tls: b.tls}, nil), topics: map[string]bool{}}
		b.hosts[host] = s
	}
	scheme := "tcp://"
	if b.tls != nil {
		scheme = "tcps://"
	}
	return s, scheme + s.broker.target.url.Host, nil
}

// ErrConnect says that a broker could not be reached.
type ErrConnect struct{ Err error }

func (e *ErrConnect) Error() string { return e.Err.Error() }
func (e *ErrConnect) Unwrap() error { return e.Err }

// connect makes sure of a connection, with all that is subscribed; mu is held.
func (b *Brokers) connect(ctx context.Context, host string, s *shared) error {
	fresh, err := s.broker.open(ctx)
	if err != nil {
		b.forget(host, s)
		return &ErrConnect{err}
	}
	if fresh {
		for topic := range s.topics {
			if err := b.listen(host, s, topic); err != nil {
				return err
			}
		}
	}
	return nil
}

// forget lets go of a broker that nobody has subscribed at.
func (b *Brokers) forget(host string, s *shared) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(s.topics) == 0 && b.hosts[host] == s {
		delete(b.hosts, host)
	}
}

// Publish sends a retained message, as edge-home-orchestration-go does, and returns
// the broker's address.
func (b *Brokers) Publish(ctx context.Context, host, topic, payload string) (address string, err error) {
	if err := checkTopic(topic); err != nil {
		return "", err
	}
	s, address, err := b.host(host)
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := b.connect(ctx, host, s); err != nil {
		return address, err
	}
	return address, s.broker.send(ctx, message{topic: topic, payload: []byte(payload), retained: true})
}

// Subscribe keeps the last message of a topic for an app from now on.
func (b *Brokers) Subscribe(ctx context.Context, host, topic, app string) error {
	if err := checkTopic(topic); err != nil {
		return err
	}
	if len(app) > maxName {
		return fmt.Errorf("the appid has %d bytes, the most is %d", len(app), maxName)
	}
	s, _, err := b.host(host)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := b.connect(ctx, host, s); err != nil {
		return err
	}
	key := subscription{host, topic, app}
	b.mu.Lock()
	_, had := b.data[key]
	full := !had && len(b.data) >= maxSubscriptions
	if !had && !full {
		b.data[key] = nil
	}
	b.mu.Unlock()
	switch {
	case full:
		return fmt.Errorf("there are %d subscriptions, which is the most", maxSubscriptions)
	case s.topics[topic] && had:
		return nil
	}
	s.topics[topic] = true
	if err := b.listen(host, s, topic); err != nil { // again, so that a retained message comes for this app, too
		if !had {
			b.mu.Lock()
			delete(b.data, key)
			b.mu.Unlock()
		}
		return err
	}
	return nil
}

// listen subscribes at a connection; the broker's mu is held.
func (b *Brokers) listen(host string, s *shared, topic string) error {
	return settle(s.broker.client.Subscribe(topic, 0, func(_ mqtt.Client, m mqtt.Message) {
		if len(m.Payload()) > maxPayload {
			return
		}
		text := strings.ToValidUTF8(string(m.Payload()), "\uFFFD")
		b.mu.Lock()
		defer b.mu.Unlock()
		for key := range b.data {
			if key.host == host && key.topic == topic {
				b.data[key] = &text
			}
		}
	}))
}

// Data returns the last message of what an app subscribed to; subscribed is false
// where it did not. An empty host is any.
func (b *Brokers) Data(host, topic, app string) (last string, subscribed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for key, text := range b.data {
		if (host == "" || key.host == host) && key.topic == topic && key.app == app {
			if text != nil {
				last = *text
			}
			subscribed = true
		}
	}
	return last, subscribed
}

func checkTopic(topic string) error {
	switch {
	case topic == "":
		return errors.New("the topic is empty")
	case len(topic) > maxName:
		return fmt.Errorf("the topic has %d bytes, the most is %d", len(topic), maxName)
	case strings.ContainsAny(topic, "+#\x00"):
		return errors.New("the topic has one of + and #: name one topic")
	}
	return nil
}
