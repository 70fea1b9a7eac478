package compose

import (
	"github.com/hearth-edge/hearth/protocol"
)

// A Service is one service as the flags of `hearth stack up NAME --image IMAGE`
// give it.
type Service struct {
	Name    string   // of the stack and of its only service
	Image   string   // --image
	Command []string // after "--"
	Ports   []string // -p [HOST:][PORT:]PORT[/udp]
	Volumes []string // -v NAME|PATH:PATH[:ro]
	Env     []string // -e NAME=value, or NAME for the value in Environ
	Environ []string // the environment as os.Environ returns it
	User    string   // --user
	Network string   // --network
	Restart string   // --restart
	Devices []string // --device
	CapAdd  []string // --cap-add
	Labels  []string // --label NAME=value
}

// Single returns the stack of one service.
func Single(s Service) (protocol.Stack, error) {
	return protocol.Stack{
		Name:     protocol.StackName(s.Name),
		Services: []protocol.StackService{{Name: s.Name, Image: s.Image, Command: s.Command, Env: s.Env}},
	}, nil
}
