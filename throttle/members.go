package throttle

import (
	"fmt"
	"slices"
	"time"
)

// Event is something that happened to a signal and that the run's record should keep.
type Event struct {
	At time.Time
	// Signal is whose; Text is what: "standby eu-2 is forgotten: gone for 1m00s".
	Signal, Text string
}

// sighting is what the primary says of one of its standbys.
type sighting struct {
	app, addr string
	replayed  position
	// said is when the standby last replied, by its own clock: only that it changes means something.
	said string
}

// member is a standby as it is remembered.
type member struct {
	sighting
	heard time.Time // when said was seen to change
	gone  time.Time // when it was missed first; zero while it is there
	moved time.Time // when replayed was taken
	// advanced is what it replayed between the last two looks, which were so far apart; 0 is unknown.
	advanced position
	apart    time.Duration
}

// members are the standbys that are there, or are missed. Who was gone for the grace is forgotten.
type members struct {
	list []*member
	tell func(text string)
}

// saw takes the sightings of one look at the primary. Standbys may share a name (walreceiver is everybody's default), and
// may come back from another address: a sighting is first matched by both, then by name.
func (m *members) saw(seen []sighting, now time.Time) {
	taken := make([]bool, len(seen))
	matched := map[*member]bool{}
	for _, same := range []func(a, b sighting) bool{
		func(a, b sighting) bool { return a.app == b.app && a.addr == b.addr },
		func(a, b sighting) bool { return a.app == b.app },
	} {
		for _, old := range m.list {
			for i, s := range seen {
				if !matched[old] && !taken[i] && same(old.sighting, s) {
					matched[old], taken[i] = true, true
					m.update(old, s, now)
				}
			}
		}
	}
	for i, s := range seen {
		if !taken[i] {
			m.list = append(m.list, &member{sighting: s, heard: now, moved: now})
			matched[m.list[len(m.list)-1]] = true
		}
	}
	for _, old := range m.list {
		if !matched[old] && old.gone.IsZero() {
			old.gone = now
		}
	}
}

func (m *members) update(old *member, s sighting, now time.Time) {
	if !old.gone.IsZero() {
		m.tell(fmt.Sprintf("standby %s is back after %s", m.name(old), brief(now.Sub(old.gone))))
		old.gone, old.heard, old.moved = time.Time{}, now, now
	}
	if s.said != old.said {
		old.heard = now
	}
	old.advanced, old.apart = 0, now.Sub(old.moved)
	if s.replayed > old.replayed {
		old.advanced = s.replayed - old.replayed
	}
	old.sighting, old.moved = s, now
}

// forget drops those that were gone for the grace, unless they are required.
func (m *members) forget(grace time.Duration, require []string, now time.Time) {
	for _, old := range slices.Clone(m.list) {
		if old.gone.IsZero() || now.Sub(old.gone) < grace || listed(old.sighting, require) {
			continue
		}
		m.tell(fmt.Sprintf("standby %s is forgotten: gone for %s", m.name(old), brief(now.Sub(old.gone))))
		m.drop(old)
	}
}

// promoted drops the standby that has become the primary, which says its cluster_name.
func (m *members) promoted(clusterName string) {
	for _, old := range slices.Clone(m.list) {
		if clusterName != "" && old.app == clusterName {
			m.tell(fmt.Sprintf("standby %s is the primary now", m.name(old)))
			m.drop(old)
			return
		}
	}
}

func (m *members) drop(old *member) {
	m.list = slices.DeleteFunc(m.list, func(x *member) bool { return x == old })
}

// name is what a standby is called: by its application_name, and with its address where that says too little.
func (m *members) name(of *member) string {
	same := 0
	for _, x := range m.list {
		if x.app == of.app {
			same++
		}
	}
	if of.addr != "" && (same > 1 || of.app == "walreceiver" || of.app == "") {
		return of.app + "@" + of.addr
	}
	return of.app
}

// listed reports whether a list of the operator's names the standby.
func listed(s sighting, list []string) bool {
	return slices.ContainsFunc(list, func(name string) bool {
		return name == s.app || s.addr != "" && (name == s.addr || name == s.app+"@"+s.addr)
	})
}

// missing is the first of the required standbys that was never seen; "" is none.
func (m *members) missing(require []string) string {
	for _, name := range require {
		if !slices.ContainsFunc(m.list, func(x *member) bool { return listed(x.sighting, []string{name}) }) {
			return name
		}
	}
	return ""
}
