from siamese.cli import main

main()
