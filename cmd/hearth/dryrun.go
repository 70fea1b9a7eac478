package main

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/protocol/api"
)

// dryRun shows how every device is rated for the service, and runs nothing.
func (c *cli) dryRun(ctx context.Context, s protocol.Service, asJSON bool) error {
	device, done, err := c.device(ctx)
	if err != nil {
		return err
	}
	defer done()
	d, err := device.Plan(ctx, s)
	if err != nil {
		return requestFailure(err)
	}
	if asJSON {
		err = json.NewEncoder(c.stdout).Encode(api.NewDecisions([]protocol.Decision{d}))
	} else {
		err = explainDecision(c.stdout, &d)
	}
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(d.Candidates, func(c protocol.Candidate) bool { return c.Code == protocol.CodeNone }) {
		return &failure{err: errors.New("no node can run this"), code: exitNoNode}
	}
	return nil
}
