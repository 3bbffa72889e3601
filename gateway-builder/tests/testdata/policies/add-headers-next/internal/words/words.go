package words

// Say is what the policy says.
const Say = "new words"
