// Package pgmock stands in for the one of that name, which Debian has not packaged: pgconn's tests
// need it to compile. Those that use it talk to no PostgreSQL, and fail with this one.
package pgmock

import (
	"errors"

	"github.com/jackc/pgproto3/v2"
)

type Step interface {
	Step(*pgproto3.Backend) error
}

type Script struct {
	Steps []Step
}

func (*Script) Run(*pgproto3.Backend) error {
	return errors.New("there is no mock server here")
}

func ExpectAnyMessage(pgproto3.FrontendMessage) Step { return nil }

func SendMessage(pgproto3.BackendMessage) Step { return nil }

func AcceptUnauthenticatedConnRequestSteps() []Step { return nil }
