package actorkit

import "context"

// InjectTrace puts the trace context of ctx into the frame.
func InjectTrace(ctx context.Context, f *Frame) { panic("being written") }

// ExtractTrace returns ctx with the frame's trace context as remote parent.
func ExtractTrace(ctx context.Context, f Frame) context.Context { panic("being written") }
