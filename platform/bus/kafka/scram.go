package kafka

import (
	"fmt"

	"github.com/IBM/sarama"
	"github.com/xdg-go/scram"
)

// scramClient is one SCRAM conversation (RFC 5802), as sarama asks for it.
type scramClient struct {
	mechanism    sarama.SASLMechanism
	conversation *scram.ClientConversation
}

var _ sarama.SCRAMClient = (*scramClient)(nil)

// Begin starts the conversation. It fails on a user name or password that
// RFC 4013 does not allow.
func (c *scramClient) Begin(user, password, authzID string) error {
	hash := scram.SHA256
	if c.mechanism == sarama.SASLTypeSCRAMSHA512 {
		hash = scram.SHA512
	}
	client, err := hash.NewClient(user, password, authzID)
	if err != nil {
		return fmt.Errorf("SCRAM: %w", err)
	}
	c.conversation = client.NewConversation()
	return nil
}

// Step answers the server.
func (c *scramClient) Step(challenge string) (string, error) { return c.conversation.Step(challenge) }

// Done reports whether the conversation is over.
func (c *scramClient) Done() bool { return c.conversation.Done() }
