package outbox

import (
	"strings"

	"github.com/hearth-edge/hearth/protocol"
)

// discoveryPrefix is where Home Assistant looks for devices.
const discoveryPrefix = "homeassistant/"

func discovery(topic string) bool { return strings.HasPrefix(topic, discoveryPrefix) }

// discovery describes a device to Home Assistant: what it shows comes from the
// summaries.
func (f *feed) discovery(d *protocol.Device) message {
	id := "hearth_" + level(string(d.Status.Node))
	topic := f.topic("devices", d.Status.Name)
	part := func(platform, name, key string, more map[string]any) map[string]any {
		p := map[string]any{"platform": platform, "name": name, "unique_id": id + "_" + key, "value_template": "{{ value_json." + key + " }}"}
		for k, v := range more {
			p[k] = v
		}
		return p
	}
	config := map[string]any{
		"device":      map[string]any{"identifiers": []string{id}, "name": d.Status.Name, "manufacturer": "Hearth", "sw_version": d.Status.Version},
		"origin":      map[string]any{"name": "hearth"},
		"state_topic": topic,
		"availability": []any{map[string]any{
			"topic": topic, "value_template": "{{ 'online' if value_json.online else 'offline' }}",
		}},
		"components": map[string]any{
			"running": part("sensor", "Running", "running", map[string]any{"state_class": "measurement"}),
			"memory_free": part("sensor", "Free memory", "memory_free", map[string]any{
				"device_class": "data_size", "unit_of_measurement": "B", "state_class": "measurement"}),
			"temperature": part("sensor", "Temperature", "temperature", map[string]any{
				"device_class": "temperature", "unit_of_measurement": "°C", "state_class": "measurement", "value_template": "{{ value_json.temperature | default(None) }}"}),
			"problem": part("binary_sensor", "Problem", "problem", map[string]any{
				"device_class": "problem", "value_template": "{{ 'ON' if value_json.problem else 'OFF' }}"}),
			"last_failed": part("sensor", "Last failed request", "last_failed", map[string]any{"value_template": "{{ value_json.last_failed | default('') }}"}),
		},
	}
	return message{topic: discoveryPrefix + "device/" + id + "/config", payload: encode(config), retained: true, latest: true}
}
