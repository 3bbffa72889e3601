package exchange

import "sync"

// maxMethods and maxPlans bound what is counted separately for each API. Further values are OtherValue.
const (
	maxMethods = 16
	maxPlans   = 64
)

// OtherValue stands for the values beyond a bound, and for an empty one.
const OtherValue = "other"

// ValueCount is the number of an API's exchanges with a value: a method of identification, or a plan.
type ValueCount struct {
	API, Value string
	Exchanges  uint64
}

// apiCounts counts exchanges by API and value.
type apiCounts struct {
	most  int // values of an API that are counted separately
	mutex sync.Mutex
	apis  map[string]map[string]uint64
}

func (c *apiCounts) add(api, value string) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.apis == nil {
		c.apis = map[string]map[string]uint64{}
	}
	values := c.apis[api]
	if values == nil {
		values = map[string]uint64{}
		c.apis[api] = values
	}
	if _, known := values[value]; value == "" || !known && len(values) >= c.most {
		value = OtherValue
	}
	values[value]++
}

func (c *apiCounts) remove(api string) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	delete(c.apis, api)
}

func (c *apiCounts) all() (all []ValueCount) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	for api, values := range c.apis {
		for value, count := range values {
			all = append(all, ValueCount{api, value, count})
		}
	}
	return all
}

// Identities are the counts of exchanges with an identity, by its method, in no particular order.
func (c *Counters) Identities() []ValueCount { return c.identities.all() }

// Plans are the counts of exchanges of consumers with a plan, by its name, in no particular order.
func (c *Counters) Plans() []ValueCount { return c.plans.all() }
