package rollout

// Begin starts a batch: from here on facts and passes are remembered until Commit keeps them or Rollback takes them
// back. Batches do not nest. Without Begin everything is kept at once, as at start.
func (p *Planner) Begin() {
	p.undoing, p.undoList = true, p.undoList[:0]
}

// Commit keeps everything since Begin.
func (p *Planner) Commit() {
	p.endBatch()
	p.forget()
}

// Rollback takes everything since Begin back: for a transaction that did not commit. Documents stay, they are not
// the store's. The next pass looks at everything that waits again.
func (p *Planner) Rollback() {
	p.undoing = false
	for i := len(p.undoList) - 1; i >= 0; i-- {
		p.undoList[i]()
	}
	p.endBatch()
	for _, r := range p.inOrder() {
		r.moved = true
		for i := range r.slots {
			r.slots[i].told = Open
		}
		r.lookAtAll()
	}
}

func (p *Planner) endBatch() {
	p.undoing = false
	clear(p.undoList)
	p.undoList = p.undoList[:0]
}

func (p *Planner) remember(undo func()) {
	if p.undoing {
		p.undoList = append(p.undoList, undo)
	}
}

// forget drops the rollouts that were pruned.
func (p *Planner) forget() {
	for _, r := range p.inOrder() {
		if r.rec.State == Pruned {
			p.drop(r)
		}
	}
}

func (p *Planner) drop(r *rolloutState) {
	delete(p.rollouts, r.id)
	p.changed = true
	for i := range r.slots {
		h := r.slots[i].host
		p.leave(h, r)
		p.hosts[h].inFlight -= weight(r.slots[i].stand)
		p.recount(h)
	}
}

// leave removes the rollout from the host's places.
func (p *Planner) leave(h int32, r *rolloutState) {
	places := p.hosts[h].slots
	for i, at := range places {
		if at.rollout == r {
			p.hosts[h].slots = append(places[:i], places[i+1:]...)
			return
		}
	}
}
