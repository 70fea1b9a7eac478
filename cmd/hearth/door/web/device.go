package web

import (
	"net/http"
	"time"

	"github.com/hearth-edge/hearth/cmd/hearth/door"
	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/protocol/api"
)

// statusLine is what this device knows of itself, and what the asker may do.
type statusLine struct {
	api.DeviceInfo
	May protocol.Right `json:"may"`
}

// status answers with what the device knows of itself.
func (a *handler) status(w http.ResponseWriter, r *http.Request) error {
	may := door.RightOf(r.Context())
	return a.app.Status(r.Context(), false, func(d protocol.DeviceInfo) error {
		return answer(w, http.StatusOK, statusLine{api.NewDeviceInfo(&d, "", nil), may})
	})
}

// checks answers with what the device found when it looked at itself.
func (a *handler) checks(w http.ResponseWriter, r *http.Request) error {
	list, err := a.app.Diagnose(r.Context())
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, api.NewChecks(list))
}

// plan answers with where a service would go now, and why.
func (a *handler) plan(w http.ResponseWriter, r *http.Request) error {
	var asked struct {
		Service api.Service `json:"service"`
	}
	if err := decode(w, r, maxServiceBody, &asked); err != nil {
		return err
	}
	service, err := serviceOf(&asked.Service)
	if err != nil {
		return err
	}
	d, err := a.app.Plan(r.Context(), service)
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, api.NewDecisions([]protocol.Decision{d})[0])
}

// drain has the device take no new work, or take it again.
func (a *handler) drain(w http.ResponseWriter, r *http.Request) error {
	var asked struct {
		Off bool `json:"off"`
	}
	if err := decode(w, r, door.MaxBody, &asked); err != nil {
		return err
	}
	if err := a.app.Drain(r.Context(), asked.Off); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// tokenList answers with the tokens made for others, without the tokens themselves.
func (a *handler) tokenList(w http.ResponseWriter, _ *http.Request) error {
	list, err := a.tokens.List()
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, list)
}

// newToken is a token as it is shown once.
type newToken struct {
	door.Token
	Secret string `json:"token"`
}

// tokenNew makes a token.
func (a *handler) tokenNew(w http.ResponseWriter, r *http.Request) error {
	var asked struct {
		Name  string         `json:"name"`
		May   protocol.Right `json:"may"`
		ForMS int64          `json:"for_ms"`
	}
	if err := decode(w, r, door.MaxBody, &asked); err != nil {
		return err
	}
	if asked.ForMS < 0 || asked.ForMS > maxForMS {
		return protocol.Errorf(protocol.CodeInvalid, "for_ms: %d is out of bounds: 0 (for ever) to %d", asked.ForMS, maxForMS)
	}
	token, secret, err := a.tokens.New(asked.Name, asked.May, time.Duration(asked.ForMS)*time.Millisecond)
	if err != nil {
		return err
	}
	return answer(w, http.StatusCreated, newToken{token, secret})
}

// tokenRevoke ends a token.
func (a *handler) tokenRevoke(w http.ResponseWriter, r *http.Request) error {
	if err := a.tokens.Revoke(r.PathValue("name")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
