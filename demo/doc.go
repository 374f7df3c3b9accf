// Package demo shows the main job of nixfleet on one machine with nothing prepared: a control plane on SQLite, agents
// on the directory backend, real certificates, real HTTP services, and three releases of which the last is broken.
//
//	err := demo.Run(ctx, demo.Options{Hosts: 5, Once: true, Out: os.Stdout})
//
// Nothing is faked: hosts are folders instead of machines, and that is all. With Chaos the agents and the control
// plane are processes of their own, killed at moments that a seed chooses. The ending is checked the same way either
// way: which closure every host runs, that the broken one never reached the others, and that the control plane's log
// and every agent's journal hold the same events, gapless and once.
//
// Run belongs to one goroutine and joins everything it started. [Role] must come first in the program's main: the demo
// starts the program again. docs/design/08-operating-and-proving.md.
package demo
