package amqp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// managementPatience bounds a call of the management API.
const managementPatience = 5 * time.Second

// management asks RabbitMQ's management API about one vhost.
type management struct {
	queues         string // URL of the list of queues, without user and password
	exchanges      string // likewise
	user, password string
	client         *http.Client
}

func newManagement(address, vhost string) (*management, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("the management URL is malformed: want http://user:password@host:port, or https://…")
	}
	m := &management{client: &http.Client{
		Transport: http.DefaultTransport.(*http.Transport).Clone(),
		Timeout:   managementPatience,
	}}
	if u.User != nil {
		m.user = u.User.Username()
		m.password, _ = u.User.Password()
	}
	api := u.Scheme + "://" + u.Host + strings.TrimSuffix(u.EscapedPath(), "/") + "/api/"
	m.queues, m.exchanges = api+"queues/"+url.PathEscape(vhost), api+"exchanges/"+url.PathEscape(vhost)
	return m, nil
}

// list returns the messages, ready and unacknowledged, of every queue of the vhost.
func (m *management) list(ctx context.Context) (map[string]int64, error) {
	var queues []struct {
		Name     string `json:"name"`
		Messages int64  `json:"messages"`
	}
	if err := m.get(ctx, m.queues+"?columns=name,messages", &queues); err != nil {
		return nil, err
	}
	messages := make(map[string]int64, len(queues))
	for _, q := range queues {
		messages[q.Name] = q.Messages
	}
	return messages, nil
}

// exchange returns the arguments that an exchange was declared with.
func (m *management) exchange(ctx context.Context, name string) (map[string]any, error) {
	var found struct {
		Arguments map[string]any `json:"arguments"`
	}
	err := m.get(ctx, m.exchanges+"/"+url.PathEscape(name)+"?columns=arguments", &found)
	return found.Arguments, err
}

func (m *management) get(ctx context.Context, address string, answer any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return fmt.Errorf("ask the management API: %w", err)
	}
	req.SetBasicAuth(m.user, m.password)
	resp, err := m.client.Do(req)
	if err != nil {
		return fmt.Errorf("ask the management API: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the management API answers %s", resp.Status)
	}
	if err := json.NewDecoder(resp.Body).Decode(answer); err != nil {
		return fmt.Errorf("read the answer of the management API: %w", err)
	}
	return nil
}

// close lets go of idle connections.
func (m *management) close() { m.client.CloseIdleConnections() }
