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
	m.queues = u.Scheme + "://" + u.Host + strings.TrimSuffix(u.EscapedPath(), "/") + "/api/queues/" + url.PathEscape(vhost)
	return m, nil
}

// list returns the messages, ready and unacknowledged, of every queue of the vhost.
func (m *management) list(ctx context.Context) (map[string]int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.queues+"?columns=name,messages", nil)
	if err != nil {
		return nil, fmt.Errorf("ask the management API: %w", err)
	}
	req.SetBasicAuth(m.user, m.password)
	resp, err := m.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the management API: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the management API answers %s", resp.Status)
	}
	var queues []struct {
		Name     string `json:"name"`
		Messages int64  `json:"messages"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&queues); err != nil {
		return nil, fmt.Errorf("read the answer of the management API: %w", err)
	}
	messages := make(map[string]int64, len(queues))
	for _, q := range queues {
		messages[q.Name] = q.Messages
	}
	return messages, nil
}

// close lets go of idle connections.
func (m *management) close() { m.client.CloseIdleConnections() }
