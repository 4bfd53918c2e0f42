package httpserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
)

// ListenError says which address could not be bound and where it was set.
type ListenError struct {
	Addr    string
	Setting string // such as "--listen, [http] listen"
	Err     error
}

func (e *ListenError) Error() string {
	return fmt.Sprintf("listen on %s (%s): %v", e.Addr, e.Setting, e.Err)
}

// Unwrap returns the cause, such as syscall.EADDRINUSE.
func (e *ListenError) Unwrap() error { return e.Err }

// Listen binds a TCP address. Connections queue in the kernel until a Server
// serves them, so it can be called long before there is anything to serve.
// setting says for the error where the address comes from. The error is a
// *ListenError.
func Listen(ctx context.Context, addr, setting string) (net.Listener, error) {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, &ListenError{Addr: addr, Setting: setting, Err: cause(err)}
	}
	return ln, nil
}

// cause drops what net wraps around an error: the address, which ListenError
// tells itself, and the name of the system call.
func cause(err error) error {
	var call *os.SyscallError
	if errors.As(err, &call) {
		return call.Err
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// Reachable turns the host that a listener is told to bind, "" for all of this
// machine, into one to call it at.
func Reachable(host string) string {
	ip, err := netip.ParseAddr(host)
	switch {
	case host == "":
		return "127.0.0.1"
	case err != nil || !ip.IsUnspecified():
		return host
	case ip.Is4():
		return "127.0.0.1"
	default:
		return "::1"
	}
}
