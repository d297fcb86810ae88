from siamese.cli.entry import main

if __name__ == "__main__":  # the processes of `compare` import this file too
    main()
