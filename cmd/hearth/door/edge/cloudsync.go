package edge

import (
	"errors"
	"net/http"

	"github.com/hearth-edge/hearth/cmd/hearth/door/outbox"
)

// publishAnswer has the keys that stand empty there, too.
type publishAnswer struct{ Message, RemoteTargetInfo, ServiceName string }

type messageAnswer struct{ Message string }

// publish sends a message to a broker.
func (h *handler) publish(r *http.Request, f fields) any {
	_, hasApp := f.text("appid")
	payload, hasPayload := f.text("payload")
	topic, hasTopic := f.text("topic")
	host, hasHost := f.text("url")
	switch {
	case !hasApp || !hasPayload || !hasTopic || !hasHost:
		return publishAnswer{Message: msgInvalid}
	case host == "":
		return publishAnswer{Message: noBroker}
	}
	address, err := h.Brokers.Publish(r.Context(), host, topic, payload)
	if err != nil {
		return publishAnswer{Message: brokerError("Error in publishing the data ", err)}
	}
	return publishAnswer{Message: "Data published successfully to Cloud" + address}
}

// subscribe has the last message of a topic be kept.
func (h *handler) subscribe(r *http.Request, f fields) any {
	app, hasApp := f.text("appid")
	topic, hasTopic := f.text("topic")
	host, hasHost := f.text("url")
	switch {
	case !hasApp || !hasTopic || !hasHost:
		return messageAnswer{msgInvalid}
	case host == "":
		return messageAnswer{noBroker}
	}
	if err := h.Brokers.Subscribe(r.Context(), host, topic, app); err != nil {
		return messageAnswer{brokerError("Error in subscribing the data ", err)}
	}
	return messageAnswer{"Successfully subscribed to the topic " + topic}
}

const noBroker = "No broker host defined"

func brokerError(what string, err error) string {
	if _, ok := errors.AsType[*outbox.ErrConnect](err); ok {
		what = "Error Connecting MQTT -> "
	}
	return what + err.Error()
}

// subscribed answers with the last message of a topic. The path of that project's
// guide has no host.
func (h *handler) subscribed(w http.ResponseWriter, r *http.Request) {
	topic := r.PathValue("topic")
	text, ok := h.Brokers.Data(r.PathValue("host"), topic, r.PathValue("app"))
	if !ok {
		text = "Client is not subscribed to the topic " + topic
	}
	reply(w, messageAnswer{text})
}
