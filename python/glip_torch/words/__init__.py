"""What words mean: the text side of a GLIP that is made of a closed-set detector."""
