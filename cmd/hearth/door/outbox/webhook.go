package outbox

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// signatureHeader has "sha256=" and the HMAC-SHA256 of the body by the target's secret.
const signatureHeader = "Hearth-Signature"

// webhook posts each message as JSON.
type webhook struct {
	target *Target
	client *http.Client
}

func newWebhook(t *Target) *webhook {
	return &webhook{t, &http.Client{
		Timeout:       sendTimeout,
		Transport:     &http.Transport{TLSClientConfig: t.tls, MaxIdleConns: 1, IdleConnTimeout: keepAlive, Proxy: http.ProxyFromEnvironment},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (h *webhook) open(context.Context) (fresh bool, err error) { return false, nil }
func (h *webhook) lost() <-chan struct{}                        { return nil }
func (h *webhook) tries() int                                   { return maxTries }
func (h *webhook) close()                                       { h.client.CloseIdleConnections() }

func (h *webhook) send(ctx context.Context, m message) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.target.url.String(), bytes.NewReader(m.payload))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "hearth")
	if len(h.target.secret) > 0 {
		req.Header.Set(signatureHeader, sign(h.target.secret, m.payload))
	}
	resp, err := h.client.Do(req)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err // it names the address, which may hold a key
		}
		return err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxPayload))
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fmt.Errorf("it answers %d", resp.StatusCode)
	}
	return nil
}

func sign(key, body []byte) string {
	mac := hmac.New(sha256.New, key)
	mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}
