package main

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// field follows keys into JSON. One that is not there is nothing, as what is not
// known is left out; but of what holds no keys none can be asked.
func field(v any, keys []string) (any, error) {
	for _, k := range keys {
		switch o := v.(type) {
		case map[string]any:
			v = o[k]
		case nil:
			return nil, nil
		default:
			return nil, fmt.Errorf("%s is asked of %s, which has no keys", k, clipped(shown(v), 40))
		}
	}
	return v, nil
}

// shown is how a value is printed: a text as it is, nothing as nothing, and what
// has parts as JSON.
func shown(vs ...any) string {
	var b strings.Builder
	for _, v := range vs {
		switch v := v.(type) {
		case nil:
		case string:
			b.WriteString(v)
		default:
			text, _ := json.Marshal(v) // it came from JSON
			b.Write(text)
		}
	}
	return b.String()
}

// truth is that of Go's templates.
func truth(v any) bool {
	switch v := v.(type) {
	case nil:
		return false
	case bool:
		return v
	case string:
		return v != ""
	case float64:
		return v != 0
	case int:
		return v != 0
	case []any:
		return len(v) > 0
	case map[string]any:
		return len(v) > 0
	}
	return true
}

func count(name string, args []any, n int) error {
	if len(args) != n {
		return fmt.Errorf("%s takes %d values, not %d", name, n, len(args))
	}
	return nil
}

func formatJSON(args []any) (any, error) {
	if err := count("json", args, 1); err != nil {
		return nil, err
	}
	b, err := json.Marshal(args[0])
	return string(b), err
}

func formatJoin(args []any) (any, error) {
	if err := count("join", args, 2); err != nil {
		return nil, err
	}
	list, isList := args[0].([]any)
	between, isText := args[1].(string)
	if !isText || !isList && args[0] != nil {
		return nil, fmt.Errorf("join takes a list and a text")
	}
	var texts []string
	for _, v := range list {
		texts = append(texts, shown(v))
	}
	return strings.Join(texts, between), nil
}

func formatLen(args []any) (any, error) {
	if err := count("len", args, 1); err != nil {
		return nil, err
	}
	switch v := args[0].(type) {
	case nil:
		return 0., nil
	case string:
		return float64(len(v)), nil
	case []any:
		return float64(len(v)), nil
	case map[string]any:
		return float64(len(v)), nil
	}
	return nil, fmt.Errorf("%s has no length", shown(args[0]))
}

func formatIndex(args []any) (any, error) {
	if len(args) == 0 {
		return nil, fmt.Errorf("index takes a value and its keys")
	}
	v := args[0]
	for _, key := range args[1:] {
		switch k := key.(type) {
		case string:
			var err error
			if v, err = field(v, []string{k}); err != nil {
				return nil, err
			}
		case float64:
			list, _ := v.([]any)
			if !(k >= 0 && k < float64(len(list))) || k != float64(int(k)) {
				return nil, fmt.Errorf("there is no %s in a list of %d", shown(k), len(list))
			}
			v = list[int(k)]
		default:
			return nil, fmt.Errorf("%s is no key", shown(key))
		}
	}
	return v, nil
}

func same(args []any) (bool, error) {
	return len(args) == 2 && reflect.DeepEqual(args[0], args[1]), count("eq", args, 2)
}
