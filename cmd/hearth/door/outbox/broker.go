package outbox

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// errSlow says that a broker did not answer in time.
var errSlow = errors.New("it did not answer within " + sendTimeout.String())

// broker is a connection to a broker of MQTT, made anew when it broke.
type broker struct {
	target *Target
	will   *message
	client mqtt.Client
	gone   chan struct{}
}

func newBroker(t *Target, will *message) *broker { return &broker{target: t, will: will} }

func (b *broker) tries() int { return 0 }

func (b *broker) lost() <-chan struct{} { return b.gone }

func (b *broker) open(context.Context) (fresh bool, err error) {
	if b.client != nil {
		select {
		case <-b.gone:
			b.close()
		default:
			return false, nil
		}
	}
	scheme := "tcp://"
	if b.target.tls != nil {
		scheme = "ssl://"
	}
	gone := make(chan struct{})
	once := sync.OnceFunc(func() { close(gone) })
	o := mqtt.NewClientOptions().AddBroker(scheme + b.target.url.Host).
		SetClientID("hearth-" + strings.ToLower(rand.Text()[:12])).SetCleanSession(true).
		SetAutoReconnect(false).SetConnectRetry(false).SetConnectTimeout(sendTimeout).SetWriteTimeout(sendTimeout).
		SetKeepAlive(keepAlive).SetPingTimeout(sendTimeout).SetOrderMatters(false).SetTLSConfig(b.target.tls).
		SetConnectionLostHandler(func(mqtt.Client, error) { once() })
	if b.target.url.User != nil {
		o.SetUsername(b.target.url.User.Username())
	}
	if len(b.target.secret) > 0 {
		o.SetPassword(string(b.target.secret))
	}
	if b.will != nil {
		o.SetBinaryWill(b.will.topic, b.will.payload, 1, b.will.retained)
	}
	client := mqtt.NewClient(o)
	if err := settle(client.Connect()); err != nil {
		client.Disconnect(0)
		return false, err
	}
	b.client, b.gone = client, gone
	return true, nil
}

func (b *broker) send(_ context.Context, m message) error {
	err := settle(b.client.Publish(m.topic, 1, m.retained, m.payload))
	if err != nil {
		b.close()
	}
	return err
}

// close says goodbye: as the will would, where there is one.
func (b *broker) close() {
	if b.client == nil {
		return
	}
	if b.will != nil && b.client.IsConnectionOpen() {
		b.client.Publish(b.will.topic, 1, b.will.retained, b.will.payload).WaitTimeout(time.Second)
	}
	b.client.Disconnect(100)
	b.client, b.gone = nil, nil
}

// settle waits for what a client was asked.
func settle(t mqtt.Token) error {
	if !t.WaitTimeout(sendTimeout + time.Second) {
		return errSlow
	}
	return t.Error()
}
